"""``mmseg-wsss run``: from photos and tags to masks, with networks of a few iterations."""

import json
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from PIL import Image
from tool_module import load_tool

from mmseg_wsss.apis.photos import Recipe, choose_recipe

SIZES = {'beach/1.jpg': (90, 60), 'beach/2.jpg': (60, 90), 'home.png': (1200, 800), 'new.png': (70, 70)}


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / 'photos'
    rng = np.random.default_rng(0)
    for name, (width, height) in SIZES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(root / name)
    (tmp_path / 'tags.csv').write_text('file,tags\nbeach/1.jpg,fish;bird\nbeach/2.jpg,fish\nhome.png,bird;boat\n')
    return root


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """A ViT of the width of DeiT-Tiny that never learned anything."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        network = MODELS.build(dict(type='TokenViT', arch='deit-tiny'))
    path = tmp_path_factory.mktemp('weights') / 'vit.pth'
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def tool(monkeypatch):
    """The script with trainings of one iteration of two photos, and what it called instead of calling it."""
    tool = load_tool('run.py')
    recipe = Recipe('deit-tiny', 1, 1, False, 120.0, 'this machine')
    monkeypatch.setattr(tool, 'choose_recipe', lambda weights, *, tagged, photos: recipe)
    common = tool.common

    def small(cfg, *rest):
        common(cfg, *rest)
        cfg.train_dataloader.batch_size = 2
        for loader in (cfg.train_dataloader, cfg.test_dataloader):
            loader.update(num_workers=0, persistent_workers=False)

    monkeypatch.setattr(tool, 'common', small)
    return tool


@pytest.mark.slow
def test_from_photos_to_masks_and_nothing_the_second_time(tool, photos, weights, tmp_path, capfd):
    arguments = [
        str(photos),
        '--tags',
        str(tmp_path / 'tags.csv'),
        '--classes',
        'fish',
        'bird',
        '--weights',
        str(weights),
    ]
    assert tool.main(arguments) == 0
    out = tmp_path / 'photos_masks'
    said = capfd.readouterr().out
    assert '3 photos with tags, 1 without' in said
    assert '2 classes: fish 2, bird 2' in said
    assert 'about 2 minutes' in said
    for name, size in SIZES.items():
        stem = name.rsplit('.', 1)[0]
        with Image.open(out / f'masks/{stem}.png') as mask:
            assert mask.size == size
            assert set(np.unique(mask)) <= {0, 1, 2}
        with Image.open(out / f'overlays/{stem}.jpg') as overlay:
            assert overlay.size == size
    assert len(json.loads((out / 'predictions.json').read_text())['images']) == 4
    assert 'no masks, so nothing was measured' in (out / 'work/README.md').read_text()
    assert json.loads((out / 'work/labels/manifest.json').read_text())['settings']['threshold'] == 0.4
    with Image.open(out / 'work/labels/SegmentationClass/home.png') as label:  # labelled and learned from in small
        assert label.size == (640, 427)

    seg = Config.fromfile(out / 'configs/weaktr-seg.py')
    assert seg.train_dataloader.dataset.classes == ('fish', 'bird')
    assert seg.model.decode_head.num_classes == 3
    checkpoint = torch.load(out / 'work/seg/iter_1.pth', weights_only=False)
    assert checkpoint['meta']['dataset_meta']['classes'] == ('background', 'fish', 'bird')

    (photos / 'new.png').write_bytes((photos / 'new.png').read_bytes()[:500])  # damaged, but nothing is learned from it
    files = {path: path.stat().st_mtime_ns for path in out.rglob('*') if path.suffix in ('.png', '.jpg', '.pth', '.py')}
    assert tool.main(arguments) == 1
    said = capfd.readouterr()
    assert '0 masks written, 3 were there' in said.out
    assert f'SKIPPED {photos}/new.png: cannot be read' in said.err
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_what_is_wrong_stops_before_anything_is_trained(tool, photos, weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tool, 'run_two_stage', lambda *_, **__: pytest.fail('something was started'))
    monkeypatch.setattr(tool, 'choose_recipe', choose_recipe)
    options = ['--tags', str(tmp_path / 'tags.csv'), '--weights', str(weights)]
    (tmp_path / 'tags.csv').write_text('file,tags\nbeach/1.jpg,fish\nbaech/2.jpg,fish\n')
    assert tool.main([str(photos), *options]) == 2
    assert f"tags.csv:3: 'baech/2' is not in {photos}" in capsys.readouterr().err
    (tmp_path / 'tags.csv').write_text('file,tags\nbeach/1.jpg,fish\n')
    assert tool.main([str(photos), *options, '--weights', str(tmp_path / 'tags.csv')]) == 2
    assert 'tags.csv: no checkpoint: the file has 27 bytes' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        tool.main([str(photos), *options, '--out', str(photos / 'masks')])
    assert 'is in the folder of the photos' in capsys.readouterr().err


def test_other_tags_need_another_folder(tool, photos, weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tool, 'run_two_stage', lambda *_, **__: sys.exit(1))
    arguments = [str(photos), '--tags', str(tmp_path / 'tags.csv'), '--weights', str(weights)]
    with pytest.raises(SystemExit):
        tool.main(arguments)
    (tmp_path / 'tags.csv').write_text('file,tags\nbeach/1.jpg,fish\n')
    assert tool.main(arguments) == 2
    assert 'was made with other settings' in capsys.readouterr().err


def test_interrupted_while_it_copies_photos_it_goes_on(tool, photos, weights, tmp_path, monkeypatch):
    arguments = [str(photos), '--tags', str(tmp_path / 'tags.csv'), '--weights', str(weights)]
    copies = tool.small_copies

    def interrupted(root, names, out, **options):
        copies(root, names[:1], out, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(tool, 'small_copies', interrupted)
    (photos / 'a.png').write_bytes((photos / 'new.png').read_bytes())
    (tmp_path / 'tags.csv').write_text('file,tags\na.png,bird\nhome.png,bird;boat\n')
    with pytest.raises(KeyboardInterrupt):
        tool.main(arguments)
    assert (tmp_path / 'photos_masks/work/photos/a.png').is_file()
    monkeypatch.setattr(tool, 'small_copies', copies)
    called = []
    monkeypatch.setattr(tool, 'run_two_stage', lambda cam, seg, work, **_: called.append([cam.name, seg.name]))
    monkeypatch.setattr(tool, 'last_checkpoint', lambda *_: 'iter_1.pth')
    monkeypatch.setattr(tool, 'predict', lambda arguments: called.append(arguments[1]))
    tool.main(arguments)
    assert called == [['weaktr-cam.py', 'weaktr-seg.py'], 'iter_1.pth']
    assert (tmp_path / 'photos_masks/work/photos/home.jpg').is_file()
    assert (tmp_path / 'photos_masks/configs/weaktr-seg.py').is_file()


def test_labels_are_refined_without_pydensecrf_too(tool, monkeypatch):
    assert tool.label_refiner() == 'crf-labels'
    monkeypatch.setitem(sys.modules, 'pydensecrf.densecrf', None)
    assert tool.label_refiner() == 'par'
