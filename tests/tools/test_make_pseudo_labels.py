"""tools/make_pseudo_labels.py in this process: labels read off the pixels, and everything that it refuses."""

import copy
import json

import numpy as np
import pytest
import torch
from colour_net import ColourCAM, expected, make_data, masked_cams, masks
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image
from tool_module import load_tool

from mmseg_wsss.datasets.palette import voc_palette
from mmseg_wsss.pseudo_labels import ManifestError, load_soft_scores

TRAIN, VAL = ('a/0', 'a/2', 'b/1'), ('a/4', 'b/3', 'b/5')


@pytest.fixture(scope='module')
def tool():
    return load_tool('make_pseudo_labels.py')


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / 'data')


@pytest.fixture
def run(tool, data, tmp_path):
    """Run the tool into ``out``; gives its exit status and the masks."""

    def run_tool(*options, model='ColourCAM', out='out', checkpoint='net.pth'):
        config = str(data / f'{model}.py')
        status = tool.main([config, str(data / checkpoint), '--out', str(tmp_path / out), *map(str, options)])
        return status, masks(tmp_path / out)

    return run_tool


def manifest(tmp_path):
    return json.loads((tmp_path / 'out' / 'manifest.json').read_text())


def test_labels_of_images_without_masks(run, data, tmp_path):
    status, labels = run('--split', 'train.txt', '--threshold', 0.6)
    assert status == 0
    assert tuple(labels) == TRAIN
    for name, label in labels.items():
        assert np.array_equal(label, expected(data, name, 0.6)), name
    with Image.open(tmp_path / 'out/SegmentationClass/a/0.png') as mask:
        assert mask.mode == 'P'
        assert mask.getpalette()[:12] == np.ravel(voc_palette(4)).tolist()
    report = json.loads((tmp_path / 'out/report.json').read_text())
    assert (report['images'], report['written'], report['there_before'], report['skipped']) == (3, 3, 0, [])
    settings = manifest(tmp_path)['settings']
    assert (settings['mask_by_labels'], settings['threshold'], settings['source'], settings['refine']) == (
        True,
        0.6,
        'cam',
        None,
    )


@pytest.mark.parametrize('options', [[], ['--refine', 'crf-labels'], ['--refine', 'par']])
def test_an_image_without_tags_is_background(run, data, options):
    """It shows none of the classes, so the second stage learns from it too."""
    tags = json.loads((data / 'tags.json').read_text())
    first = next(iter(tags))
    (data / 'tags.json').write_text(json.dumps(tags | {first: []}))
    _, labels = run('--split', 'train.txt', '--threshold', 0.6, *options)
    assert len(labels) == 3
    assert not labels[first.removesuffix('.png')].any()


def test_the_threshold_is_the_models_where_none_is_given(run, data, tmp_path, monkeypatch):
    built, init = [], ColourCAM.__init__
    monkeypatch.setattr(ColourCAM, '__init__', lambda self, **kwargs: built.append(init(self, **kwargs)))
    _, labels = run('--split', 'train.txt')
    assert len(built) == 1, 'the network'
    assert manifest(tmp_path)['settings']['threshold'] == 0.5
    _, own = run('--split', 'train.txt', '--cfg-options', 'model.background_threshold=0.62', out='own')
    for name, label in labels.items():
        assert np.array_equal(label, expected(data, name, 0.5)), name
        assert np.array_equal(own[name], expected(data, name, 0.62)), name


def test_all_classes_lets_absent_classes_appear(run, data, tmp_path):
    _, labels = run('--split', data / 'train.txt', '--threshold', 0.6, '--all-classes')
    for name, label in labels.items():
        assert np.array_equal(label, expected(data, name, 0.6, mask_by_labels=False)), name
        assert set(np.unique(label)) == {0, 1, 2, 3}
        assert len(np.unique(expected(data, name, 0.6))) == 3, 'masked by its tags it has two classes'
    assert manifest(tmp_path)['settings']['mask_by_labels'] is False


@pytest.mark.parametrize('mask_by_labels', [True, False])
@pytest.mark.parametrize('tta', [True, False])
def test_segmentation_networks(run, data, mask_by_labels, tta):
    """Logits 1 against 2 * colour; flips change nothing in a network that looks at one pixel."""
    options = ['--tta'] * tta + ['--all-classes'] * (not mask_by_labels)
    _, labels = run('--split', 'train.txt', *options, model='ColourSegmentor')
    for name, label in labels.items():
        wanted = expected(data, name, 0.5, mask_by_labels=mask_by_labels)
        # a mean of two equal probabilities may differ in the last bit from one of them: equal colours
        assert (label != wanted).mean() <= (0.01 if tta else 0), name


def test_segmentation_of_a_network_with_cams(run, data):
    _, labels = run('--split', 'train.txt', '--source', 'seg')
    assert all(np.array_equal(label, expected(data, name, 0.5)) for name, label in labels.items())


def test_sweep_finds_the_threshold_of_the_masks(run, data, tmp_path, capsys):
    status, labels = run('--split', 'train.txt', '--sweep', '--sweep-split', 'val.txt')
    assert status == 0
    assert all(np.array_equal(label, expected(data, name, 0.37)) for name, label in labels.items())
    found = manifest(tmp_path)['found']
    assert (found['threshold'], found['mIoU'], found['images'], found['skipped']) == (0.37, 100.0, 3, [])
    assert len(found['table']) == 99
    assert found['table']['0.36'] < 100 > found['table']['0.38'] > found['table']['0.60']
    assert 'threshold 0.37: 100.00 mIoU on 3 images' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('refine', 'key', 'kind', 'values'),
    [
        ('crf-labels', 'label_crf', 'LabelCRF', {'num_iter': 3, 'bilateral': {'srgb': 60, 'compat': 40}}),
        ('crf-scores', 'crf', 'DenseCRF', {'num_iter': 3, 'bilateral': {'srgb': 60}}),
        ('par', 'par', 'PAR', {'num_iter': 3}),
    ],
)
def test_refinement_sees_the_masked_scores_and_the_image(run, data, tmp_path, refine, key, kind, values):
    if kind != 'PAR':
        pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')
    with (data / 'ColourCAM.py').open('a') as config:
        config.write(f'{key} = {values}')
    _, labels = run('--split', 'train.txt', '--threshold', 0.6, '--refine', refine)
    refiner = MODELS.build({'type': kind, **values})
    for name, label in labels.items():
        cams = masked_cams(data, name)
        kept = [0, *(np.flatnonzero(cams.any(axis=(1, 2))) + 1)]
        scores = np.concatenate([np.full_like(cams[:1], 0.6), cams])[kept]
        image = np.array(Image.open(data / f'images/{name}.png')).transpose(2, 0, 1)
        refined = refiner(torch.from_numpy(image)[None] / 255, torch.from_numpy(scores)[None])[0].numpy()
        assert np.array_equal(label, np.array(kept)[refined.argmax(0)]), name
        assert (label != expected(data, name, 0.6)).any(), 'it changes something'
    assert kind in manifest(tmp_path)['settings']['refine']
    assert 'num_iter=3' in manifest(tmp_path)['settings']['refine']


def test_soft_scores(run, data, tmp_path):
    run('--split', 'train.txt', '--threshold', 0.6, '--soft')
    ids, scores = load_soft_scores(tmp_path / 'out/SoftScores/b/1.npz')
    assert ids.tolist() == [0, 2, 3], 'background and the tags'
    wanted = np.concatenate([np.full((1, 25, 24), 0.6), masked_cams(data, 'b/1')[1:]])
    assert np.abs(scores - wanted).max() <= 0.5 / 255 + 1e-6


def test_soft_scores_are_the_refined_ones(run, data, tmp_path):
    """The best class of the soft scores is the mask, which refinement has changed."""
    _, labels = run('--split', 'train.txt', '--threshold', 0.6, '--soft', '--refine', 'par')
    for name, label in labels.items():
        ids, scores = load_soft_scores(tmp_path / f'out/SoftScores/{name}.npz')
        first, second = np.sort(scores, axis=0)[::-1][:2]
        certain = first - second > 2 / 255  # more than two steps of the file
        assert certain.mean() > 0.8
        assert np.array_equal(ids[scores.argmax(0)][certain], label[certain]), name
        assert (label != expected(data, name, 0.6))[certain].any(), 'refinement changes something'


def test_bfloat16(run, data, tmp_path):
    _, labels = run('--split', 'train.txt', '--threshold', 0.6, '--amp')
    changed = [(label != expected(data, name, 0.6)).mean() for name, label in labels.items()]
    assert 0 < max(changed) < 0.03, 'colours are rounded to 8 bits of mantissa'
    assert manifest(tmp_path)['settings']['amp'] is True


def test_a_complete_folder_is_left_alone(run, tmp_path, capsys):
    run('--threshold', 0.6)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'out').rglob('[!.]*')}
    status, _ = run('--threshold', 0.6)
    assert status == 0
    assert 'nothing to do: all 3 masks are in' in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / 'out').rglob('[!.]*')} == before


def test_missing_and_damaged_masks_are_made_again_and_leftovers_removed(run, data, tmp_path):
    run('--threshold', 0.6, '--soft')
    out = tmp_path / 'out'
    (out / 'SegmentationClass/b/3.png').unlink()
    half = (out / 'SegmentationClass/a/4.png').read_bytes()[:60]
    (out / 'SegmentationClass/a/4.png').write_bytes(half)
    (out / 'SegmentationClass/a/.4.part-4711.png').write_bytes(half)
    kept = (out / 'SegmentationClass/b/5.png').stat().st_mtime_ns
    status, labels = run('--threshold', 0.6, '--soft')
    assert (status, tuple(labels)) == (0, VAL)
    assert all(np.array_equal(label, expected(data, name, 0.6)) for name, label in labels.items())
    assert (out / 'SegmentationClass/b/5.png').stat().st_mtime_ns == kept
    assert list(out.rglob('.*')) == [out / '.lock']
    assert json.loads((out / 'report.json').read_text())['there_before'] == 1


def test_other_settings_are_refused_by_name(run, data, tmp_path):
    run('--threshold', 0.6)
    with pytest.raises(ManifestError, match=r'(?s)made with other settings.*\n  threshold: 0\.6 there, 0\.5 now$'):
        run('--threshold', 0.5)
    with pytest.raises(ManifestError, match=r'(?s)images\.sha256: .*mask_by_labels: true there, false now$'):
        run('--threshold', 0.6, '--all-classes')
    with pytest.raises(ManifestError, match=r'model\.data_preprocessor\.bgr_to_rgb: true there, false now'):
        run('--threshold', 0.6, '--cfg-options', 'model.data_preprocessor.bgr_to_rgb=False')
    torch.save({'state_dict': {'mix.weight': torch.ones(3, 3, 1, 1)}}, data / 'other.pth')
    with pytest.raises(ManifestError, match=r'checkpoint: "[0-9a-f]{64}" there, "[0-9a-f]{64}" now'):
        run('--threshold', 0.6, checkpoint='other.pth')


def test_tags_that_changed_are_other_settings_only_where_they_mask(run, data, tmp_path):
    run('--threshold', 0.6)
    run('--threshold', 0.6, '--all-classes', out='free')
    tags = json.loads((data / 'tags.json').read_text())
    (data / 'tags.json').write_text(json.dumps({**tags, 'b/5.png': ['red', 'green', 'blue']}))
    with pytest.raises(ManifestError, match=r'images\.sha256'):
        run('--threshold', 0.6)
    assert run('--threshold', 0.6, '--all-classes', out='free')[0] == 0


def test_a_corrupt_image_is_skipped_named_and_made_up_for(run, data, tmp_path, capsys):
    path = data / 'images/b/3.png'
    good = path.read_bytes()
    path.write_bytes(good[:200])
    status, labels = run('--threshold', 0.6)
    assert (status, tuple(labels)) == (1, ('a/4', 'b/5'))
    report = json.loads((tmp_path / 'out/report.json').read_text())
    assert [one['path'] for one in report['skipped']] == [str(path)]
    assert 'cannot be read as an image' in report['skipped'][0]['error']
    assert f'1 images were SKIPPED:\n  {path}: cannot be read' in capsys.readouterr().err
    path.write_bytes(good)
    status, labels = run('--threshold', 0.6)
    assert (status, tuple(labels)) == (0, VAL)
    assert json.loads((tmp_path / 'out/report.json').read_text())['written'] == 1


def test_a_corrupt_image_of_the_sweep_is_named_every_time(run, data, tmp_path, capsys):
    path = data / 'images/b/3.png'
    path.write_bytes(path.read_bytes()[:200])
    options = ('--split', 'train.txt', '--sweep', '--sweep-split', 'val.txt')
    status, labels = run(*options)
    assert (status, tuple(labels)) == (1, TRAIN)
    report = json.loads((tmp_path / 'out/report.json').read_text())
    assert (report['written'], [one['path'] for one in report['skipped']]) == (3, [str(path)])
    assert f'SKIPPED:\n  {path}: cannot be read' in capsys.readouterr().err
    assert run(*options)[0] == 1
    assert f'SKIPPED {path}: cannot be read' in capsys.readouterr().err


def test_images_of_the_training_loader(tool, data, tmp_path):
    """Their own folder and tags, the test pipeline, no masks."""
    (data / 'images').rename(data / 'train_images')
    cfg = Config.fromfile(data / 'ColourCAM.py')
    cfg.train_dataloader = copy.deepcopy(cfg.test_dataloader)
    cfg.train_dataloader.dataset.update(
        ann_file='train.txt', data_prefix={'img_path': 'train_images'}, pipeline=[{'type': 'Unheard'}]
    )
    cfg.dump(data / 'two.py')
    options = ['--out', str(tmp_path / 'out'), '--images', 'train', '--threshold', '0.6']
    assert tool.main([str(data / 'two.py'), str(data / 'net.pth'), *options]) == 0
    (data / 'train_images').rename(data / 'images')
    labels = masks(tmp_path / 'out')
    assert tuple(labels) == TRAIN
    assert all(np.array_equal(label, expected(data, name, 0.6)) for name, label in labels.items())


@pytest.mark.parametrize(
    ('options', 'model', 'message'),
    [
        (['--threshold', '0.5', '--tta'], 'ColourCAM', 'CAMs already use several scales and flips'),
        (['--threshold', '0.5'], 'ColourSegmentor', 'a segmentation has its own background'),
        (['--threshold', '0.5', '--source', 'cam'], 'ColourSegmentor', 'ColourSegmentor has no CAMs'),
        (['--tta', '--cfg-options', 'tta_model.type=SegTTAModel'], 'ColourSegmentor', 'SegTTAModel drops the merged'),
        (
            ['--threshold', '0.5', '--cfg-options', 'model.type=mmseg.ColourCAM', 'test_dataloader=None'],
            'ColourCAM',
            'has no test_dataloader',
        ),
        (['--sweep', '--split', 'train.txt'], 'ColourCAM', 'mask'),
    ],
)
def test_options_that_do_not_fit(run, options, model, message):
    with pytest.raises(ValueError, match=message):
        run(*options, model=model)


def test_checkpoint_of_another_class_count(run, data):
    torch.save({'state_dict': {'mix.weight': torch.ones(5, 3, 1, 1)}}, data / 'other.pth')
    with pytest.raises(ValueError, match=r'(?s)other\.pth does not fit the model of .*ColourCAM\.py.*mix\.weight'):
        run('--threshold', 0.5, checkpoint='other.pth')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--threshold', '1.5'], r'--threshold must be in \[0, 1\), got 1.5'),
        (['--sweep-split', 'val.txt'], '--sweep-split needs --sweep'),
        (['--workers', '-1'], '--workers must not be negative'),
    ],
)
def test_command_lines_that_cannot_be(run, capsys, options, message):
    with pytest.raises(SystemExit):
        run(*options)
    assert message.replace('\\', '') in capsys.readouterr().err
