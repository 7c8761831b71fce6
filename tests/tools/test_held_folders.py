"""Tools that fill a folder refuse one that another run is filling, before anything else, and name it."""

import re
from contextlib import nullcontext

import pytest
from colour_net import make_data, masks
from held_folder import REFUSED, held_elsewhere
from tool_module import load_tool
from toy_runs import stage1_config


@pytest.fixture
def out(tmp_path):
    with held_elsewhere(tmp_path / 'out'):
        yield tmp_path / 'out'


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / 'data')


@pytest.mark.parametrize('tool', ['make_pseudo_labels.py', 'predict.py', 'test.py'])
def test_networks(out, data, tool):
    files = [data / 'ColourCAM.py', data / 'net.pth', *[data / 'images'] * (tool == 'predict.py'), '--out', out]
    with pytest.raises(SystemExit) as caught:
        load_tool(tool).main([*map(str, files)])
    assert caught.value.code == f'error: --out {out} {REFUSED}'
    assert [path.name for path in out.iterdir()] == ['.lock']


@pytest.mark.parametrize(
    ('tool', 'options'),
    [
        ('voc_subset', ['--name', 'pets', '--classes', 'cat']),
        ('voc_aug', ['--sbd', 'benchmark.tgz']),
        ('coco14', ['--splits', 'val2014']),
    ],
)
def test_converters(out, capsys, tool, options):
    assert load_tool(f'dataset_converters/{tool}.py').main([str(out), *options]) == 1
    assert capsys.readouterr().err.strip().startswith(f'{out} {REFUSED}\n')


def test_colour_masks(out, capsys):
    options = [str(out / 'src'), str(out), '--colours', 'colours.txt']
    assert load_tool('dataset_converters/colour_masks.py').main(options) == 1
    assert capsys.readouterr().err.startswith(f'{out} {REFUSED}\n')


def test_a_folder_that_is_not_there_is_not_made(tmp_path, capsys):
    root = str(tmp_path / 'VOC2021')
    assert load_tool('dataset_converters/voc_subset.py').main([root, '--name', 'pets', '--classes', 'cat']) == 1
    assert f'there is no folder {root}' in capsys.readouterr().err
    with pytest.raises(SystemExit, match='2'):
        load_tool('dataset_converters/coco14.py').main([root])
    assert f'there is no folder {root}' in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_training(out, tmp_path, monkeypatch):
    stage1_config(tmp_path).dump(tmp_path / 'config.py')
    monkeypatch.setattr('sys.argv', ['train.py', str(tmp_path / 'config.py'), '--work-dir', str(out)])
    with pytest.raises(SystemExit) as caught:
        load_tool('train.py').main()
    assert caught.value.code == f'error: --work-dir {out} {REFUSED}'
    assert [path.name for path in out.iterdir()] == ['.lock']


@pytest.mark.parametrize(
    ('held', 'shared', 'options', 'refused'),
    [
        ('.lock', True, ['--shard', '1/2'], False),
        ('.lock', True, [], True),
        ('.lock', False, ['--shard', '1/2'], True),
        ('.lock-1-of-2', False, ['--shard', '1/2'], True),
        ('.lock-1-of-2', False, ['--shard', '2/2'], False),
    ],
)
def test_shards_share_a_folder(data, tmp_path, held, shared, options, refused):
    """Each holds its own part; a run without shards would do the parts of all."""
    out = tmp_path / 'out'
    files = map(str, [data / 'ColourCAM.py', data / 'net.pth', '--out', out])
    expected = pytest.raises(SystemExit, match=re.escape(f'error: --out {out} {REFUSED}')) if refused else nullcontext()
    with held_elsewhere(out, held, shared=shared), expected:
        assert load_tool('make_pseudo_labels.py').main([*files, *options]) == 0
    assert len(masks(out)) == (0 if refused else 3 - int(options[1][0]))  # of three images
