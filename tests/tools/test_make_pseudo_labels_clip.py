"""The label tool without a checkpoint and with affinities: masks against the parts, one after the other."""

import json
import sys

import numpy as np
import pytest
import torch
from colour_net import make_data, masks
from launch import ROOT, run_together
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import Image
from tiny_clip import clip_config, openai_weights, write_texts
from tool_module import load_tool

SIDE = 32  # whole patches
TAGS = {'red': 0, 'green': 1, 'blue': 2}
DINO = dict(
    type='TokenViT',
    arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64),
    img_size=32,
    patch_size=8,
)


@pytest.fixture
def data(tmp_path):
    """Drawn images, and ``clip.py``: a tiny CLIP on them, whose ``affinity`` has a backbone of its own."""
    root = make_data(tmp_path / 'data', side=SIDE)
    torch.save(openai_weights(), root / 'clip.pth')
    init_default_scope('mmseg')
    vit = MODELS.build(DINO)
    torch.save({key: 0.2 * torch.randn_like(value) for key, value in vit.state_dict().items()}, root / 'dino.pth')
    cfg = Config.fromfile(root / 'ColourCAM.py')
    cfg.model = clip_config(write_texts(root / 'text.npz'), str(root / 'clip.pth'))
    backbone = dict(DINO, init_cfg=dict(type='Pretrained', checkpoint=str(root / 'dino.pth')))
    cfg.affinity = dict(backbone=backbone, source='features', temperature=0.2, box_threshold=None)
    cfg.dump(root / 'clip.py')
    return root


@pytest.fixture
def run(data, tmp_path):
    """Run the tool on ``clip.py``; gives its exit status and the masks."""
    tool = load_tool('make_pseudo_labels.py')

    def run_tool(*options, config='clip.py', out='out'):
        status = tool.main([str(data / config), '--out', str(tmp_path / out), *map(str, options)])
        return status, masks(tmp_path / out)

    return run_tool


def built(refiner):
    """A refiner of a config, with its weights."""
    refiner = MODELS.build(refiner)
    refiner.init_weights()
    return refiner.eval()


def expected(data, name, *refiners, threshold=0.5):
    """Ids (H, W) by the network and these refiners, the background last."""
    cfg = Config.fromfile(data / 'clip.py')
    model = MODELS.build(cfg.model).eval()
    model.init_weights()
    pixels = torch.from_numpy(np.array(Image.open(data / 'images' / f'{name}.png'))).permute(2, 0, 1)[None].float()
    tags = json.loads((data / 'tags.json').read_text())[f'{name}.png']
    label = torch.zeros(1, 3)
    label[0, [TAGS[tag] for tag in tags]] = 1
    cam = model.cams((pixels - 120) / 60, labels=label)['cam']
    for refiner in refiners:
        cam = (built(refiner) if isinstance(refiner, dict) else refiner)(pixels / 255, cam)
    cam = cam[0] * label[0, :, None, None]
    return torch.where(cam.amax(0) > threshold, cam.argmax(0) + 1, 0).numpy()


def agree(found, wanted):
    """Share of equal pixels; rounding may decide at a few."""
    return (found == wanted).mean()


def test_no_checkpoint_is_needed(run, data, tmp_path):
    status, labels = run('--split', 'train.txt')
    assert status == 0
    assert len(labels) == 3
    for name, label in labels.items():
        assert agree(label, expected(data, name)) > 0.99, name
        assert len(np.unique(label)) > 1
    settings = json.loads((tmp_path / 'out/manifest.json').read_text())['settings']
    assert len(settings['checkpoint']) == 64, 'the SHA-256 of the weights'
    assert 'affinity' not in settings


def test_other_weights_or_names_are_another_folder(run, data):
    assert run('--split', 'train.txt')[0] == 0
    torch.save(openai_weights(), data / 'clip.pth')
    with pytest.raises(ValueError, match='checkpoint'):
        run('--split', 'val.txt')
    assert run('--split', 'train.txt', '--refine', 'affinity', out='refined')[0] == 0
    weights = torch.load(data / 'dino.pth')
    torch.save({key: -value for key, value in weights.items()}, data / 'dino.pth')
    with pytest.raises(ValueError, match='affinity'):
        run('--split', 'train.txt', '--refine', 'affinity', out='refined')


@pytest.mark.parametrize('refine', ['affinity', 'affinity+crf'])
def test_refined_by_the_affinity_of_the_config(run, data, refine, tmp_path):
    chain = [dict(type='FeatureAffinity', **Config.fromfile(data / 'clip.py').affinity)]
    if refine == 'affinity+crf':
        pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')
    status, labels = run('--split', 'train.txt', '--refine', refine, '--workers', 2)
    assert status == 0
    changed = []
    for name, label in labels.items():
        wanted = expected(data, name, *chain)
        if refine == 'affinity':
            assert agree(label, wanted) > 0.99, name
        changed.append(agree(label, expected(data, name)) < 0.95)
    assert any(changed), 'it changes something'
    settings = json.loads((tmp_path / 'out/manifest.json').read_text())['settings']
    assert settings['affinity']['values'].startswith("source='features', num_blocks=8, temperature=0.2, rounds=3")
    assert settings['affinity']['backbone']['patch_size'] == 8
    assert len(settings['affinity']['weights']) == 64
    assert (settings['refine'] is None) == (refine == 'affinity')


def test_the_crf_starts_from_the_refined_maps(run, data):
    pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')
    _, plain = run('--split', 'train.txt', '--refine', 'crf-labels', out='plain')
    _, refined = run('--split', 'train.txt', '--refine', 'affinity+crf', out='refined')
    assert any(agree(plain[name], refined[name]) < 0.95 for name in plain)


def test_without_a_backbone_it_is_the_networks_own(run, data):
    cfg = Config.fromfile(data / 'clip.py')
    cfg.affinity = dict(num_blocks=2, power=3)
    cfg.dump(data / 'own.py')
    _, labels = run('--split', 'train.txt', '--refine', 'affinity', config='own.py')
    model = MODELS.build(cfg.model).eval()
    model.init_weights()
    own = dict(type='FeatureAffinity', backbone=model.backbone, mean=[120.0] * 3, std=[60.0] * 3)
    refiner = MODELS.build(own | cfg.affinity)
    for name, label in labels.items():
        assert agree(label, expected(data, name, refiner)) > 0.99, name


def test_the_sweep_sees_the_refined_maps(run, data, tmp_path):
    for name in ('b/3', 'a/4', 'b/5'):
        path = data / 'masks' / f'{name}.png'
        Image.fromarray(
            expected(
                data, name, dict(type='FeatureAffinity', **Config.fromfile(data / 'clip.py').affinity), threshold=0.37
            ).astype(np.uint8)
        ).save(path)
    status, _ = run('--sweep', '--refine', 'affinity', '--split', 'val.txt')
    assert status == 0
    found = json.loads((tmp_path / 'out/manifest.json').read_text())['found']
    assert 0.3 <= found['threshold'] <= 0.42
    assert found['mIoU'] > 95


def test_shards_are_as_one_run(run, data, tmp_path):
    _, whole = run('--split', 'train.txt', out='whole')
    for number in (1, 2):
        assert run('--split', 'train.txt', '--shard', f'{number}/2')[0] == 0
    _, again = run('--split', 'train.txt')
    assert again.keys() == whole.keys()
    assert all(np.array_equal(again[name], whole[name]) for name in whole)


def test_what_cannot_be_labelled_is_said(run):
    with pytest.raises(ValueError, match=r'--refine affinity spreads CAMs: it does not work with --source seg'):
        run('--source', 'seg', '--refine', 'affinity')
    with pytest.raises(ValueError, match=r'clip\.py has no train_dataloader: leave out --images train'):
        run('--images', 'train')
    with pytest.raises(ValueError, match='init_cfg names no weights, and CLIPCAM is not trained'):
        run('--cfg-options', 'model.backbone.init_cfg=None')


def test_a_trained_network_needs_its_checkpoint(run):
    with pytest.raises(ValueError, match='ColourCAM is trained: give its checkpoint after the config'):
        run('--split', 'train.txt', config='ColourCAM.py')


def test_a_backbone_without_tokens_is_said(run, data, tmp_path):
    tool = load_tool('make_pseudo_labels.py')
    files = [str(data / 'ColourCAM.py'), str(data / 'net.pth'), '--out', str(tmp_path / 'out')]
    with pytest.raises(ValueError, match=r'--refine affinity: .*affinity=dict\(backbone=dict\('):
        tool.main([*files, '--refine', 'affinity'])


@pytest.mark.slow
def test_the_test_tool_needs_none_either_and_two_processes_find_the_same(data, tmp_path):
    more = "test_evaluator = dict(type='CAMIoUMetric')\ntest_cfg = dict(type='TestLoop')\n"
    more += "custom_imports = dict(imports=['mmseg_wsss'], allow_failed_imports=False)\n"
    (data / 'clip.py').write_text((data / 'clip.py').read_text() + more)
    for name in ('b/3', 'a/4', 'b/5'):
        Image.fromarray(expected(data, name).astype(np.uint8)).save(data / 'masks' / f'{name}.png')
    test, torchrun = (
        ROOT / 'tools' / 'test.py',
        ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2'],
    )
    one, two = [data / 'clip.py', '--work-dir', tmp_path / 'one'], [data / 'clip.py', '--work-dir', tmp_path / 'two']
    run_together([sys.executable, test, *one], [sys.executable, *torchrun, test, *two, '--launcher', 'pytorch'])
    record, other = (json.loads((tmp_path / name / 'test.json').read_text()) for name in ('one', 'two'))
    assert record['checkpoint'] is None
    assert record['metrics']['cam/mIoU'] > 97
    assert record['metrics'] == other['metrics']
