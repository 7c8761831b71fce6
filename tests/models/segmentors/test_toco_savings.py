"""What ToCo's step does not do twice: losses equal the reference implementation's; passes, waiting, memory counted."""

import sys
from pathlib import Path

import pytest
import torch
from host_waits import Recorder
from mmengine.optim import OptimWrapper
from tiny_toco import SIZE, build_toco, make_batch, total

sys.path.insert(0, str(Path(__file__).parents[3] / 'benchmarks'))

import reference_toco  # noqa: F401  registers ReferenceToCo
from allocation_counter import AllocationCounter

LABELS = [[0, 2], [1]]
ENERGY = dict(type='DenseEnergyLoss', weight=1e-3, max_groups=None)


@pytest.mark.parametrize('labels', [LABELS, [[0, 1, 2], []], [[1], [1]]])
def test_losses_and_gradients_are_those_of_the_reference_implementation(labels):
    torch.manual_seed(0)
    # most of a random CAM is background then, so that some local crops are negative
    settings = dict(loss_reg=ENERGY, cam_thresholds=(0.8, 0.9), num_local_crops=6, local_crop_size=8)
    model, reference = build_toco(**settings), build_toco(type='ReferenceToCo', **settings)
    reference.load_state_dict(model.state_dict())
    views, samples = make_batch(labels)
    samples[1].set_metainfo(dict(valid_box=(0, SIZE, 8, SIZE)))
    results = []
    for either in (model, reference):
        for step in range(2):  # the second with a moved teacher
            torch.manual_seed(step)
            losses = either.loss(views, samples)
        total(losses).backward()
        results.append((losses, {name: p.grad for name, p in either.named_parameters() if p.grad is not None}))
    (losses, gradients), (reference_losses, reference_gradients) = results
    assert set(losses) == set(reference_losses)
    for name, value in losses.items():
        assert value.item() == pytest.approx(reference_losses[name].item(), abs=1e-5), name
    assert gradients.keys() == reference_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, reference_gradients[name], atol=1e-5, rtol=1e-4, msg=name)
    assert losses['loss_ctc'] > 0.3, 'some crops are negative'


def test_prediction_with_cams_runs_the_whole_image_once():
    model = build_toco(cam_scales=(1.0, 0.5)).eval()
    views, samples = make_batch([[2]])
    expected = model.cams(views['img'])['cam']
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0].shape[::3])))
    with torch.no_grad():
        sample = model.predict(views['img'], samples)[0]
    assert seen == [(1, SIZE), (1, SIZE), (2, SIZE // 2)], 'segmentation and CAM, mirror image, half size'
    torch.testing.assert_close(sample.cam.data[2], expected[0, 2])
    assert not model.backbone._forward_hooks


def test_sliding_windows_are_not_taken_for_the_image():
    model = build_toco(test_cfg=dict(mode='slide', crop_size=(16, 16), stride=(8, 8), cam=True)).eval()
    views, samples = make_batch([[2]])
    with torch.no_grad():
        sample = model.predict(views['img'], samples)[0]
    torch.testing.assert_close(sample.cam.data[2], model.cams(views['img'])['cam'][0, 2])


def test_the_host_waits_for_the_device_for_the_accuracy_of_mmsegs_heads_alone():
    model = build_toco(loss_reg=ENERGY)
    views, samples = make_batch(LABELS)
    optim = OptimWrapper(torch.optim.AdamW(model.parameters(), fused=True))
    with Recorder() as recorder:
        losses = total(model.loss(views, samples))
        optim.update_params(losses)
    assert recorder.waits == ['index', 'index'], (
        "mmseg's heads pick the pixels of `acc_seg` by a mask, twice; nothing else"
    )
    assert recorder.from_host == 1, 'the valid boxes, which are copied without waiting'


def test_a_step_needs_less_than_half_the_memory_of_the_reference_implementation():
    """Counted, so it is the same number everywhere; more tokens, so that attention maps weigh what they do in use."""
    backbone = dict(
        type='TokenViT',
        arch=dict(embed_dims=32, num_layers=4, num_heads=2, feedforward_channels=128),
        img_size=64,
        patch_size=4,
        out_indices=(1, 3),
    )
    views, samples = make_batch(LABELS, size=64)
    peaks, largest = {}, {}
    for kind in ('ToCo', 'ReferenceToCo'):
        torch.manual_seed(0)
        model = build_toco(type=kind, backbone=backbone)
        with AllocationCounter() as counter:
            total(model.loss(views, samples)).backward()
        peaks[kind], largest[kind] = counter.peak, counter.largest
    assert peaks['ToCo'] < 0.5 * peaks['ReferenceToCo'], peaks
    tokens = 1 + (64 // 4) ** 2
    assert largest['ReferenceToCo'] > 4 * 2 * tokens**2 * 4, 'attention maps of one block'
    assert largest['ToCo'] < 4 * 2 * tokens**2 * 4


def test_allocations_are_counted_while_they_live():
    with AllocationCounter() as counter:
        first = torch.zeros(1000)
        second = first + 1  # 8 kB are alive
        del second
        third = first * 2
        part = third.view(10, 100)[0]
        part.add_(1)  # a view, changed in place: nothing new
        del first
    assert (counter.live, counter.peak, counter.largest) == (4000, 8000, 4000)
