"""What WeakTr does not do twice and does not hold, counted; results equal the reference implementation's."""

import copy
import sys
from pathlib import Path

import pytest
import torch
from tiny_toco import CLASSES, make_batch
from tiny_weaktr import BLOCKS, HEADS, build_weaktr
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from mmseg_wsss.models.cam import attention_fusion
from mmseg_wsss.structures import image_scores

sys.path.insert(0, str(Path(__file__).parents[3] / 'benchmarks'))

from reference_weaktr import reference_cams, reference_loss, reference_pass

SIZE, BATCH = 128, 2  # a grid of 16 x 16, so that an attention map is larger than everything else
PATCHES = (SIZE // 8) ** 2
MAP = HEADS * (PATCHES + CLASSES) ** 2  # values of the maps of one block and image


@pytest.fixture
def model():
    model = build_weaktr()
    with torch.no_grad():  # one of the two hidden units is alive for any image
        first = model.cam_head.head_weights.head_ffn[0].weight
        first[1] = -first[0]
    return model


@pytest.fixture
def images():
    return torch.randn(BATCH, 3, SIZE, SIZE)


class Recorder(TorchDispatchMode):
    """Notes the number of values of the largest tensor and how often fused attention is called."""

    largest = attentions = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.attentions += function.overloadpacket.__name__.startswith('_scaled_dot_product')
        sizes = [tensor.numel() for tensor in tree_iter(result) if isinstance(tensor, torch.Tensor)]
        self.largest = max([self.largest, *sizes])
        return result


def passes(model):
    """A list that grows by the batch size and the image side of every pass through the encoder."""
    seen = []
    tokens = model.backbone.tokens
    model.backbone.tokens = lambda x, **kwargs: seen.append((len(x), x.shape[-1])) or tokens(x, **kwargs)
    return seen


def saved_bytes(function):
    """Bytes of the distinct storages that ``function`` keeps for backward."""
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage  # held, so that no address comes twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function()
    del result
    return sum(storage.nbytes() for storage in storages.values())


def samples():
    return make_batch([[0], [1, 2]])[1]


@pytest.fixture
def reference(model):
    return copy.deepcopy(model)


def assert_near(ours, reference, name=None):
    """Equal to 1e-5 of the largest value."""
    assert reference.abs().max() > 0
    torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-5 * float(reference.abs().max()), msg=name)


def test_losses_and_gradients_are_those_of_the_reference_implementation(model, reference, images):
    losses = model.loss(images, samples())
    reference_losses = reference_loss(reference, images, image_scores(samples()))
    assert_near(sum(losses.values()), reference_losses)
    sum(losses.values()).backward()
    reference_losses.backward()
    expected = dict(reference.named_parameters())
    for name, parameter in model.named_parameters():
        if expected[name].grad is None:
            assert parameter.grad is None, name
        else:
            assert_near(parameter.grad, expected[name].grad, name)


def test_cams_are_those_of_the_reference_implementation(model, reference, images):
    model.eval(), reference.eval()
    with torch.no_grad():
        assert_near(model(images), reference_pass(reference, images).fine)
    tags = torch.tensor([1.0, 0.0, 1.0])
    cams = model.cams(images)['cam'] * tags[:, None, None]
    for image, cam in zip(images, cams, strict=True):
        assert_near(cam, reference_cams(reference, image[None], tags))


def test_a_loss_is_one_pass_with_one_attention_per_block(model, images):
    seen = passes(model)
    with Recorder() as recorder:
        losses = model.loss(images, samples())
    assert seen == [(BATCH, SIZE)]
    assert recorder.attentions == BLOCKS
    with Recorder() as recorder:
        sum(losses.values()).backward()
    assert recorder.attentions == BLOCKS


def test_cams_take_a_pass_per_scale_for_both_mirror_images(model, images):
    seen = passes(model.eval())
    with Recorder() as recorder:
        model.cams(images)
    assert seen == [(2 * BATCH, SIZE), (2 * BATCH, SIZE // 2)]
    assert recorder.attentions == 2 * (BLOCKS + BLOCKS), 'in the encoder and with the CAM as values'


def test_no_attention_map_is_ever_there(model, images, monkeypatch):
    monkeypatch.setitem(attention_fusion._MAP_VALUES, 'cpu', 2**14)
    with Recorder() as recorder:
        sum(model.loss(images, samples()).values()).backward()
    assert recorder.largest < BATCH * MAP / 4
    with Recorder() as recorder:
        model.eval().cams(images)
    assert recorder.largest <= 2 * images.numel(), 'the images and their mirror images'
    assert 2 * images.numel() < 2 * BATCH * MAP / 2


def test_softmax_maps_are_held_in_parts_of_a_fixed_size():
    # one block of DeiT-S for 16 images of 224 px: its map would have 4.5 million values
    query, key = torch.randn(2, 16, 6, 216, 8).unbind()
    with Recorder() as recorder:
        attention_fusion._mean_row(query[:, :, 20:], key)
    assert 2**18 < recorder.largest <= 2**20


def test_the_fusion_keeps_only_class_rows_for_backward(model, images):
    def encoder():
        tokens = model.backbone.tokens(images)
        coarse = model.cam_head.classifier(tokens.maps[-1])
        return tokens.cls_token.sum() + coarse.sum()

    rows = BATCH * BLOCKS * HEADS * CLASSES * PATCHES * 4
    extra = saved_bytes(lambda: model.loss(images, samples())) - saved_bytes(encoder)
    assert rows < extra < 2.5 * rows
    assert extra < BATCH * BLOCKS * MAP * 4 / 40, 'of what the maps are'


def test_a_coarse_head_sees_no_attention_and_weighs_no_heads(images):
    model = build_weaktr(dict(cross_attention=False, patch_attention=False))
    model.cam_head.head_weights = None
    blocks = model.backbone.tokens(images, record=model.cam_head.record).recorded
    assert blocks == ((),) * BLOCKS
    coarse = model.cam_head.classifier(model.backbone.tokens(images).maps[-1])
    with torch.no_grad():
        torch.testing.assert_close(model(images), coarse.relu())
    assert not model.loss(images, samples())['loss_fine'].requires_grad
