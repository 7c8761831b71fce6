"""The sweep of several processes: each counts its share, the first writes what was found."""

import pytest
from colour_net import make_data
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tool_module import load_tool

from mmseg_wsss.pseudo_labels import ImageList, Scorer, build_dataset, load_model, sweep, sweep_threshold


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / 'data')


@pytest.fixture
def images(data, tmp_path):
    cfg = Config.fromfile(data / 'ColourCAM.py')
    init_default_scope('mmseg')
    return ImageList(build_dataset(cfg.test_dataloader.dataset, masks=True), tmp_path / 'out')


@pytest.fixture
def scorer(data):
    cfg = Config.fromfile(data / 'ColourCAM.py')
    model = load_model(MODELS.build(cfg.model), cfg, str(data / 'net.pth'), source='cam')
    return Scorer(model, source='cam', mask_by_labels=True)


def test_processes_share_the_images(images, scorer, monkeypatch):
    """The second process of two, which is given what the first counted."""
    alone = sweep_threshold(images, scorer)
    seen, shares = [], []
    load = images.load
    monkeypatch.setattr(images, 'load', lambda indices, loaders: (seen.append([*indices]), load(indices, loaders))[1])
    monkeypatch.setattr(sweep, 'all_gather_object', lambda share: (shares.append(share), shares)[1])
    monkeypatch.setattr(sweep, 'get_world_size', lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr(sweep, 'get_rank', lambda rank=rank: rank)
        together = sweep_threshold(images, scorer)
    assert seen == [[0, 2], [1]]
    assert together == alone
    assert (together['threshold'], together['images']) == (0.37, 3)


def test_only_the_first_process_writes(monkeypatch):
    tool = load_tool('make_pseudo_labels.py')
    monkeypatch.setattr(tool, 'broadcast_object_list', lambda answer: answer)
    calls = []
    for rank, expected in ((0, 'written'), (1, None)):
        monkeypatch.setattr(tool, 'get_rank', lambda rank=rank: rank)
        assert tool.first_process_says(lambda rank=rank: (calls.append(rank), 'written')[1]) == expected
    assert calls == [0]


def test_a_second_process_leaves_manifest_and_report_to_the_first(data, tmp_path, monkeypatch, capsys):
    """It labels its share; who started it sends it what the first process found."""
    tool, out = load_tool('make_pseudo_labels.py'), tmp_path / 'out'
    monkeypatch.setattr(tool, 'get_rank', lambda: 1)
    monkeypatch.setattr(tool, 'get_world_size', lambda: 2)
    answers = iter([(None, [0, 1, 2]), None])
    monkeypatch.setattr(tool, 'broadcast_object_list', lambda answer: answer.__setitem__(0, next(answers)))
    files = map(str, (data / 'ColourCAM.py', data / 'net.pth', '--out', out))
    assert tool.main([*files, '--sweep']) == 0
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob('*.png')) == ['SegmentationClass/a/4.png']
    assert not list(out.glob('*.json'))
    assert 'mIoU' not in capsys.readouterr().out
