"""CLIPCAM: Grad-CAM by automatic differentiation of the whole last block, present classes, affinity, layouts."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tiny_clip import GRID, PATCH, SPACE, build_clip, clip_config, hugging_face_names, openai_weights

from mmseg_wsss.structures import set_image_label

SIDE = GRID * PATCH
TWO = torch.tensor([[1.0, 0, 1], [0, 1, 0]])


@pytest.fixture
def model(tmp_path):
    return build_clip(tmp_path, affinity=None)


def slow_cam(model, image, label):
    """Grad-CAM (C, h, w) of one image (3, H, W), the whole of the last block with its gradients, from the formula."""
    vit = model.backbone
    x, grid = vit._embed(image[None])
    for layer in vit.layers[:-1]:
        x = layer(x)
    last, seen = vit.layers[-1], []
    handle = last.ln1.register_forward_hook(lambda module, args, out: seen.append(out.requires_grad_()) or out)
    token = vit.ln1(last(x))[:, 0]
    handle.remove()
    image_vector = F.normalize(token @ model.cam_head.projection.weight.T, dim=-1)[0]
    kept = [k for k in range(3) if label[k]] + [3, 4]
    probability = (10 * model.cam_head.text[kept] @ image_vector).softmax(0)
    cam = torch.zeros(3, *grid)
    for place, k in enumerate(kept[:-2]):
        (gradient,) = torch.autograd.grad(probability[place], seen[0], retain_graph=True)
        weights = gradient[0, 1:].mean(0)  # (D,)
        one = (seen[0][0, 1:].detach() @ weights).relu()
        one = one - one.min()
        cam[k] = (one / (one.max() + 1e-5)).view(grid)
    return cam


@pytest.mark.parametrize('size', [(SIDE, SIDE), (SIDE - 8, SIDE + 20)])
def test_grad_cam_as_autograd_of_the_whole_block(model, size):
    images = torch.randn(2, 3, *size)
    expected = torch.stack([slow_cam(model, image, label) for image, label in zip(images, TWO, strict=True)])
    found = model.raw_cams(images, TWO)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert (expected.flatten(2).std(-1) > 0.05).sum() == 3, 'the maps of the present classes are not trivial'


def test_absent_classes_are_zero_and_do_not_compete(model):
    images = torch.randn(2, 3, SIDE, SIDE)
    found = model.raw_cams(images, TWO)
    assert torch.equal(found.flatten(2).amax(-1) > 0, TWO > 0)
    torch.testing.assert_close(model.raw_cams(images[:1], TWO[:1]), found[:1], rtol=1e-4, atol=1e-5)
    competing = model.raw_cams(images, torch.ones(2, 3))
    assert (competing - found)[TWO > 0].abs().max() > 1e-3, 'more names, other probabilities'
    torch.testing.assert_close(model.raw_cams(images), competing)


def test_an_image_without_classes_is_background(model):
    found = model.raw_cams(torch.randn(1, 3, SIDE, SIDE), torch.zeros(1, 3))
    assert torch.equal(found, torch.zeros(1, 3, GRID, GRID))


def test_bfloat16_is_near_and_finite(model):
    images = torch.randn(2, 3, SIDE, SIDE)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = model.raw_cams(images, TWO)
    assert found.dtype == torch.float32
    difference = (found - model.raw_cams(images, TWO)).abs()
    assert 0 < difference.mean() < 0.05


def slow_affinity(model, image, blocks):
    """Balanced affinity (N, N) of the attention maps of the last blocks, each map in full."""
    maps = []

    def keep(attention):
        scores = attention.query @ attention.key.mT / attention.query.shape[-1] ** 0.5
        maps.append(scores.softmax(-1).mean(1)[0, 1:, 1:])

    with torch.no_grad():
        model.backbone.tokens(image[None], record=keep)
    affinity = torch.stack(maps[-blocks:]).mean(0)
    for _ in range(3):
        affinity = affinity / affinity.sum(0, keepdim=True)
        affinity = affinity / affinity.sum(1, keepdim=True)
    return (affinity + affinity.T) / 2


@pytest.mark.parametrize('blocks', [1, 3])
def test_affinity_of_its_own_pass(tmp_path, blocks):
    model = build_clip(tmp_path, affinity=dict(type='FeatureAffinity', num_blocks=blocks, box_threshold=None))
    image, label = torch.randn(3, SIDE, SIDE), torch.tensor([1.0, 1, 0])
    plain = slow_cam(model, image, label).flatten(1)
    spread = slow_affinity(model, image, blocks)
    expected = torch.stack([spread @ spread @ one for one in plain])
    expected = expected - expected.amin(1, keepdim=True)
    expected = expected / expected.amax(1, keepdim=True).clamp(min=1e-8) * plain.amax(1, keepdim=True)
    found = model.raw_cams(image[None], label[None])[0].flatten(1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(found, plain, atol=0.05)


def test_boxes_limit_what_is_spread(tmp_path):
    free = build_clip(tmp_path, affinity=dict(type='FeatureAffinity', num_blocks=3, box_threshold=None))
    boxed = MODELS.build(ConfigDict(clip_config(str(tmp_path / 'text.npz'), affinity=dict(type='FeatureAffinity'))))
    boxed.load_state_dict(free.state_dict())
    boxed.eval().affinity.num_blocks = 3  # as the other's
    images = torch.randn(1, 3, SIDE, SIDE)
    assert not torch.allclose(free.raw_cams(images), boxed.raw_cams(images), atol=1e-3)


def test_prediction_uses_the_labels_of_the_samples(model):
    images = torch.randn(2, 3, SIDE, SIDE)
    meta = dict(img_shape=(SIDE, SIDE), ori_shape=(SIDE, SIDE), pad_shape=(SIDE, SIDE), padding_size=[0] * 4)
    samples = [set_image_label(SegDataSample(metainfo=meta), label.nonzero().flatten().tolist(), 3) for label in TWO]
    found = model.predict(images, samples)
    raw = F.interpolate(model.raw_cams(images, TWO), size=(SIDE, SIDE), mode='bilinear', align_corners=False)
    low, high = raw.amin((-2, -1), keepdim=True), raw.amax((-2, -1), keepdim=True)
    cams = (raw - low) / (high - low + 1e-8)
    for sample, cam in zip(found, cams, strict=True):
        torch.testing.assert_close(sample.cam.data, cam, rtol=1e-4, atol=1e-4)
        label = torch.cat((torch.full_like(cam[:1], 0.5), cam)).argmax(0)
        assert (sample.pred_sem_seg.data[0] == label).float().mean() > 0.99
    mixed = model.predict(images, [samples[0], SegDataSample(metainfo=meta)])
    torch.testing.assert_close(mixed[0].cam.data, cams[0], rtol=1e-4, atol=1e-4)
    alone = model.cams(images[1:])['cam'][0]
    torch.testing.assert_close(mixed[1].cam.data, alone, rtol=1e-4, atol=1e-4)  # all classes compete


def test_labels_go_with_mirror_images_too(model):
    images = torch.randn(2, 3, SIDE, SIDE)
    model.merge_flip = torch.add
    both = model.raw_cams(images, TWO) + model.raw_cams(images.flip(-1), TWO).flip(-1)
    both = F.interpolate(both, size=(SIDE, SIDE), mode='bilinear', align_corners=False)
    both = both - both.amin((-2, -1), keepdim=True)
    expected = both / (both.amax((-2, -1), keepdim=True) + 1e-8)
    torch.testing.assert_close(model.cams(images, labels=TWO)['cam'], expected, rtol=1e-3, atol=1e-3)


def test_layouts_of_openai_and_hugging_face_are_one_network(tmp_path, model):
    state = torch.load(tmp_path / 'clip.pth')
    torch.save(hugging_face_names(state), tmp_path / 'hf.pth')
    other = MODELS.build(ConfigDict(clip_config(str(tmp_path / 'text.npz'), str(tmp_path / 'hf.pth'), affinity=None)))
    other.init_weights()
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    torch.testing.assert_close(model.cam_head.projection.weight, state['visual.proj'].T)
    torch.save({f'module.{key}': value for key, value in state.items()}, tmp_path / 'hf.pth')
    other.init_weights()
    assert torch.equal(other.cam_head.projection.weight, model.cam_head.projection.weight)


def test_a_file_without_a_projection_is_refused(tmp_path, model):
    state = openai_weights()
    del state['visual.proj']
    torch.save(state, tmp_path / 'half.pth')
    model.backbone.init_cfg['checkpoint'] = str(tmp_path / 'half.pth')
    with pytest.raises(ValueError, match=r'half\.pth has no projection \(visual\.proj or visual_projection\.weight\)'):
        model.init_weights()


def test_what_is_refused(tmp_path, model):
    short = set_image_label(SegDataSample(metainfo=dict(img_path='a.jpg')), [1], 2)
    with pytest.raises(ValueError, match=r'a\.jpg: the image-level label is over 2 classes, the network over 3'):
        model.predict(torch.randn(1, 3, SIDE, SIDE), [short])
    with pytest.raises(ValueError, match='init_cfg names no weights, and CLIPCAM is not trained'):
        MODELS.build(ConfigDict(clip_config(str(tmp_path / 'text.npz')))).init_weights()
    with pytest.raises(RuntimeError, match='CLIPCAM is not trained'):
        model.loss(torch.randn(1, 3, SIDE, SIDE), [])
    vit = clip_config(str(tmp_path / 'text.npz'))['backbone']
    for wrong in (dict(backbone=vit), dict(source='features')):
        with pytest.raises(ValueError, match=r"CLIP's own attention: leave its backbone and source out"):
            build_clip(tmp_path, affinity=dict(type='FeatureAffinity', **wrong))
    with pytest.raises(TypeError, match='CLIPCAM cannot work with'):
        build_clip(tmp_path, backbone=dict(type='mmpretrain.VisionTransformer', arch='b'))


def test_nothing_is_trained(model):
    assert not any(one.requires_grad for one in model.backbone.parameters())
    assert model.cam_head.projection.weight.shape == (SPACE, 32)


def test_tag_scores_are_those_of_each_class_alone(model):
    images = torch.randn(2, 3, SIDE, SIDE)
    token = model.backbone.tokens(images).cls_token[:, 0]
    alone = [model.cam_head(token, (torch.arange(3) == k).expand(2, 3))[:, k] for k in range(3)]
    found = model.tag_scores(images)
    torch.testing.assert_close(found, torch.stack(alone, dim=1))
    assert not found.requires_grad
    assert found.std() > 0.01
