"""The drawn data set: same seed same pixels, tags that say exactly what the masks show, and the shipped backbone."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from demo import scenes  # noqa: E402
from demo.objects import BODIES, HEADS, LIMBS, draw  # noqa: E402
from demo.textures import PATTERNS, texture  # noqa: E402


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    return scenes.write(tmp_path_factory.mktemp('demo') / 'data', train=60, val=20)


def _mask(directory, name):
    return np.array(Image.open(directory / 'SegmentationClass' / f'{name}.png'))


def test_same_seed_draws_the_same_pixels(drawn, tmp_path):
    again = scenes.write(tmp_path / 'again', train=3, val=2)
    for name in ('train_0000', 'train_0002', 'val_0001'):
        for file in (f'JPEGImages/{name}.jpg', f'SegmentationClass/{name}.png'):
            assert (again / file).read_bytes() == (drawn / file).read_bytes()
    other = scenes.write(tmp_path / 'other', train=1, val=1, seed=1)
    assert (other / 'JPEGImages/train_0000.jpg').read_bytes() != (drawn / 'JPEGImages/train_0000.jpg').read_bytes()


def test_train_and_val_share_no_scene(drawn):
    pictures = [path.read_bytes() for path in (drawn / 'JPEGImages').iterdir()]
    assert len(pictures) == len(set(pictures)) == 80


def test_second_call_keeps_what_is_there_and_a_broken_first_call_leaves_nothing(drawn, tmp_path, monkeypatch):
    before = (drawn / 'tags.json').stat().st_mtime_ns
    assert scenes.write(drawn) == drawn
    assert (drawn / 'tags.json').stat().st_mtime_ns == before

    monkeypatch.setattr(scenes, 'save_mask', lambda *_: (_ for _ in ()).throw(OSError('disk full')))
    with pytest.raises(OSError, match='disk full'):
        scenes.write(tmp_path / 'broken', train=2, val=1)
    assert not (tmp_path / 'broken').exists()


def test_tags_say_exactly_what_the_masks_show(drawn):
    tags = json.loads((drawn / 'tags.json').read_text())
    listed = [n for s in ('train', 'val') for n in (drawn / f'ImageSets/Segmentation/{s}.txt').read_text().split()]
    assert sorted(tags) == sorted(listed)
    for name, bears in tags.items():
        ids = set(np.unique(_mask(drawn, name)).tolist())
        assert {scenes.CLASSES.index(tag) + 1 for tag in bears} == ids - {0}
        assert 0 in ids


def test_every_tag_is_visible_and_every_class_is_met(drawn):
    counts = np.zeros(len(scenes.CLASSES) + 1, int)
    classes_per_scene = []
    for path in (drawn / 'SegmentationClass').iterdir():
        ids, pixels = np.unique(np.array(Image.open(path)), return_counts=True)
        counts[ids] += 1
        classes_per_scene.append(len(ids) - 1)
        assert pixels[ids > 0].min() >= scenes.MIN_VISIBLE
        assert pixels[ids == 0].item() > 0.3 * pixels.sum()
    assert (counts[1:] >= 10).all()
    assert set(classes_per_scene) == {1, 2, 3}


def test_mask_is_the_drawn_silhouette():
    """On a black canvas, what the object painted and what the mask claims are the same pixels."""
    for seed, kind in enumerate(scenes.KINDS):
        canvas = np.full((96, 128, 3), -1, np.float32)
        silhouette = draw(kind, canvas, (64, 48), 25, np.random.default_rng(seed))
        np.testing.assert_array_equal(silhouette, canvas.min(-1) >= 0)
        assert 800 < silhouette.sum() < 5000


def test_head_tells_the_kind_and_bodies_are_shared():
    heads = [kind.head for kind in scenes.KINDS]
    assert len(set(heads)) == len(heads)
    assert len({kind.bodies for kind in scenes.KINDS}) == 2


def test_body_is_much_larger_than_head():
    """The discriminative part is at most half of the body for every kind (outline areas at the mean head radius)."""
    import cv2

    def area(polygons, scale):
        canvas = np.zeros((600, 600), np.uint8)
        cv2.fillPoly(canvas, [np.round(p * scale + 300).astype(np.int32) for p in polygons], 1)
        return canvas.sum()

    for kind in scenes.KINDS:
        body = np.mean([area([BODIES[b]], 100) for b in kind.bodies])
        assert area(HEADS[kind.head][0], 48) < 0.5 * body
        assert set(kind.limbs) <= set(LIMBS)


def test_pretraining_kinds_leave_the_demo_classes_out():
    from demo.pretrain import kinds

    found = kinds()
    assert len(found) == 3 * len(HEADS) - len(scenes.KINDS) == 39
    assert not {(k.head, k.bodies) for k in found} & {(k.head, k.bodies) for k in scenes.KINDS}


@pytest.mark.parametrize('name', sorted(PATTERNS))
def test_textures_mix_two_colours(name):
    """Without the shading (factor 0.85..1.15) every value lies between the two colours."""
    image = texture(name, 40, 50, np.random.default_rng(3), np.full(3, 60.0), np.full(3, 200.0))
    assert image.shape == (40, 50, 3)
    assert image.min() >= 60 * 0.85 - 1e-3
    assert image.max() <= 200 * 1.15 + 1e-3
    assert image.std() > 1


def test_shipped_backbone_is_small_plain_and_in_timm_layout():
    path = ROOT / 'demo/tiny_vit.pth'
    assert path.stat().st_size <= 5e6
    state = torch.load(path, weights_only=True)
    blocks = {int(key.split('.')[1]) for key in state if key.startswith('blocks.')}
    assert blocks == set(range(8))
    assert state['blocks.7.mlp.fc1.weight'].shape == (384, 96)
    assert state['pos_embed'].shape == (1, 65, 96)
    assert {'cls_token', 'patch_embed.proj.weight', 'norm.weight', 'norm.bias'} <= set(state)
    assert all(value.dtype == torch.float16 and value.isfinite().all() for value in state.values())
