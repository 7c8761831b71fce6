"""tools/predict.py in this process: masks, overlays, the summary, and what happens the second time."""

import json
import os

import numpy as np
import pytest
import torch
from colour_net import expected, make_data
from PIL import Image
from tool_module import load_tool

NAMES = ['a/0', 'a/2', 'a/4', 'b/1', 'b/3', 'b/5']


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / 'data')


@pytest.fixture
def run(data, tmp_path):
    def run_tool(*images, checkpoint='net.pth'):
        paths = map(str, images or [data / 'images'])
        options = ['--out', str(tmp_path / 'out'), '--batch-size', '2', '--device', 'cpu']
        return load_tool('predict.py').main(
            [str(data / 'ColourSegmentor.py'), str(data / checkpoint), *paths, *options]
        )

    return run_tool


def test_masks_overlays_and_summary(run, data, tmp_path, capsys):
    assert run() == 0
    assert capsys.readouterr().out == f'6 masks written, 0 were there: {tmp_path}/out/masks\n'
    records = json.loads((tmp_path / 'out/predictions.json').read_text())['images']
    assert [one['mask'] for one in records] == [f'masks/{name}.png' for name in NAMES]
    for name, record in zip(NAMES, records, strict=True):
        with Image.open(tmp_path / 'out' / record['mask']) as mask:
            assert mask.mode == 'P'
            ids = np.array(mask)
        assert np.array_equal(ids, expected(data, name, 0.5, mask_by_labels=False)), name
        shares = {kind: (ids == k).mean() for k, kind in enumerate(('background', 'red', 'green', 'blue'))}
        assert record['classes'] == {kind: pytest.approx(share, abs=1e-4) for kind, share in shares.items() if share}


def test_the_overlay_leaves_the_background_as_it_is(run, data, tmp_path):
    photo = np.full((32, 32, 3), 40, np.uint8)
    photo[:, 16:] = 200, 10, 10
    Image.fromarray(photo).save(data / 'flat.png')
    run(data / 'flat.png')
    overlay = np.array(Image.open(tmp_path / 'out/overlays/flat.jpg')).astype(int)
    assert abs(overlay[:, :14] - 40).max() <= 3  # JPEG
    assert abs(overlay[:, 18:] - [0.4 * 200 + 0.6 * 128, 4, 4]).max() <= 6


def test_the_second_time_does_what_is_left(run, data, tmp_path, capsys):
    run()
    mask, other = tmp_path / 'out/masks/a/2.png', tmp_path / 'out/masks/b/1.png'
    mask.write_bytes(mask.read_bytes()[:60])  # cut off by a full disk
    os.utime(data / 'images/b/1.png', (other.stat().st_mtime + 5,) * 2)  # the photo was replaced
    kept = (tmp_path / 'out/masks/a/0.png').stat().st_mtime_ns
    capsys.readouterr()
    assert run() == 0
    assert capsys.readouterr().out.startswith('2 masks written, 4 were there')
    assert np.array_equal(np.array(Image.open(mask)), expected(data, 'a/2', 0.5, mask_by_labels=False))
    assert (tmp_path / 'out/masks/a/0.png').stat().st_mtime_ns == kept
    assert len(json.loads((tmp_path / 'out/predictions.json').read_text())['images']) == 6


def test_bad_files_are_named_and_the_rest_is_done(run, data, tmp_path, capsys):
    (data / 'images/a/2.png').write_text('too many requests')
    (data / 'images/a/phone.heic').write_text('of a telephone')
    (data / 'images/a/0.heic').write_text('converted to 0.png')
    assert run() == 1
    captured = capsys.readouterr()
    told = [line.split(' as an image')[0] for line in captured.err.splitlines() if 'SKIPPED' in line]
    assert told == [f'SKIPPED {data}/images/a/{name}: cannot be read' for name in ('2.png', 'phone.heic')]
    assert captured.out.startswith('5 masks written, 0 were there')
    assert len(json.loads((tmp_path / 'out/predictions.json').read_text())['images']) == 5


def test_other_weights_need_another_folder(run, data, capsys):
    run()
    torch.save({'state_dict': {'mix.weight': -torch.eye(3)[:, :, None, None]}, 'meta': {}}, data / 'other.pth')
    assert run(checkpoint='other.pth') == 2
    assert 'out/masks are of another checkpoint or config: choose another --out' in capsys.readouterr().err
    (data.parent / 'out/predictions.json').unlink()
    assert run() == 2


def test_a_later_call_adds_images_and_takes_no_mask_of_another(run, data, tmp_path, capsys):
    assert run(data / 'images/a') == 0
    assert run(data / 'images/b') == 0
    records = json.loads((tmp_path / 'out/predictions.json').read_text())['images']
    assert [one['mask'] for one in records] == [f'masks/{number}.png' for number in (0, 2, 4, 1, 3, 5)]
    Image.open(data / 'images/a/0.png').save(data / 'images/b/0.png')
    capsys.readouterr()
    assert run(data / 'images/b') == 2
    assert f'{data}/images/b/0.png and {data}/images/a/0.png would both become' in capsys.readouterr().err
    names = (tmp_path / 'out/masks/labelmap.txt').read_text().splitlines()
    assert [line.split(':')[0] for line in names[1:]] == ['background', 'red', 'green', 'blue']


def test_numbers_and_devices_that_cannot_be(run, data, tmp_path, capsys):
    network = [
        str(data / 'ColourSegmentor.py'),
        str(data / 'net.pth'),
        str(data / 'images'),
        '--out',
        str(tmp_path / 'o'),
    ]
    for option in (['--batch-size', '0'], ['--workers', '-1']):
        with pytest.raises(SystemExit):
            load_tool('predict.py').main([*network, *option])
    assert load_tool('predict.py').main([*network, '--device', 'nonsense']) == 2
    assert 'error: device nonsense: ' in capsys.readouterr().err


def test_two_images_of_one_name_are_refused(run, data, capsys):
    Image.open(data / 'images/a/0.png').save(data / 'images/b/0.png')
    assert run(data / 'images/a', data / 'images/b') == 2
    assert 'would both become' in capsys.readouterr().err
    assert run(data / 'images/a', data / 'none') == 2
    assert f'{data}/none: no such image or folder' in capsys.readouterr().err
