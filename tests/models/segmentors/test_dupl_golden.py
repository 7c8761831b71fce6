"""DuPL against the numbers recorded from the published code: the small network and whole training iterations."""

import json

import pytest
import torch
import torch.nn.functional as F
from published import GOLDEN, drawn_image
from small_dupl import SIZE, build, samples_of, strong_views, total

from mmseg_wsss.checkpoints import DUPL
from mmseg_wsss.models.cam import valid_mask

ITERATIONS = (1000, 2000, 5000, 8000, 8001, 14000)


def close(found, expected):
    """1e-3 of the largest recorded value."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3 * expected.abs().max().item())


@torch.no_grad()
def test_both_branches_of_the_small_network(golden):
    model, g = build().eval(), golden('dupl_small')
    images = drawn_image(1810, 2, 96, 128)
    cams = model.cams(images)
    assert list(cams) == [f'{name}{part}' for name in ('cam', 'cam_aux') for part in ('', '_1', '_2')]
    for number, branch in enumerate(model.branches, 1):
        maps = branch.backbone(images)
        close(branch.cam_head(maps), g[f'logits_{number}'])
        close(branch.aux_cam_head(maps), g[f'aux_logits_{number}'])
        close(branch.decode_head(maps), g[f'segmentation_{number}'])
        close(maps[-1], g[f'final_map_{number}'])
        strong = F.interpolate(images.flip(-1), scale_factor=0.75, mode='bilinear')
        close(branch.decode_head(branch.backbone(strong)), g[f'segmentation_perturbed_{number}'])
        for name in ('cam', 'cam_aux'):
            pooled = F.avg_pool2d(cams[f'{name}_{number}'], 8)
            torch.testing.assert_close(pooled, g[f'multi_scale_{name}_{number}'], rtol=0, atol=1e-4)
    for name in ('cam', 'cam_aux'):
        assert torch.equal(cams[name], torch.stack((cams[f'{name}_1'], cams[f'{name}_2'])).mean(dim=0))


@pytest.fixture(scope='module', params=ITERATIONS)
def step(request, golden):
    """One iteration: the recording, the model before, its losses, what it made on the way."""
    g, model = golden(f'dupl_iter_{request.param}'), build(sure=True)
    model.iteration = request.param
    images = drawn_image(1820, 2, SIZE, SIZE)
    views = dict(img=images, strong_view=strong_views(images, g['ops'].long().tolist()) if 'ops' in g else images)
    seen = dict(pairs=[], labels=[], masks=[])
    model.loss_ptc.register_forward_pre_hook(lambda _, inputs: seen['pairs'].append(inputs[1:]))
    model.loss_consistency.register_forward_pre_hook(lambda _, inputs: seen['masks'].append(inputs))
    # The published code applies the pixel box to the token grid, so padding at the top hides all tokens of image 1;
    # here a token counts where its centre shows the image (test_toco.py).
    relation = model.branch1.token_relation
    hidden = (
        valid_mask(g['boxes'].long(), (8, 8), torch.device('cpu')).repeat_interleave(16, 1).repeat_interleave(16, 2)
    )
    assert hidden.flatten(1).float().mean(dim=1).tolist() == [1, 0]
    model.branch1.token_relation = lambda grid, cam, valid, high: relation(grid, cam, hidden, high=high)
    for branch in model.branches:
        inner = branch.segmentation_losses
        branch.segmentation_losses = lambda maps, label, *args, inner=inner, **kwargs: (
            seen['labels'].append(label) or inner(maps, label, *args, **kwargs)
        )
    losses = model.loss(views, samples_of(g['image_labels'], g['boxes']))
    return request.param, g, model, views, losses, seen


def test_losses_and_gradients(step):
    number, g, model, _, losses, _ = step
    expected = {
        f'loss_{name}_{branch}': g[f'cls_loss_{ours}_{branch}']
        for name, ours in (('cls', 'fmap'), ('cls_aux', 'aux'))
        for branch in (1, 2)
    }
    expected |= {f'loss_ptc_{branch}': 0.2 * g[f'ptc_loss_{branch}'] for branch in (1, 2)}
    expected['loss_discrepancy'] = 0.1 * g['sim_loss']
    if number > 2000:
        expected |= {f'decode.loss_seg_{branch}': 0.2 * g[f'seg_loss_{branch}'] for branch in (1, 2)}
    if number > 8000:
        expected |= {f'loss_consistency_{branch}': 0.05 * g[f'reg_loss_{branch}'] for branch in (1, 2)}
    assert {key for key in losses if 'loss' in key} - {'loss_not_begun'} == {*expected}
    assert ('loss_not_begun' in losses) == (number <= 2000)
    for key, value in expected.items():
        assert losses[key].item() == pytest.approx(value.item(), rel=1e-3), key
    assert total(losses).item() == pytest.approx(g['loss'].item(), rel=1e-3)

    total(losses).backward()
    names = json.loads((GOLDEN / 'dupl_iter_params.json').read_text())
    renamed = dict(DUPL.names)
    parameters = dict(model.named_parameters())
    for name, norm in zip(names, g['gradient_norms'].tolist(), strict=True):
        block = name.split('blocks.')[1].split('.')[0] if 'blocks.' in name else ''
        ours = renamed[name.replace(f'blocks.{block}.', 'blocks.*.')].replace('*', block)
        gradient = parameters[ours].grad
        found = 0.0 if gradient is None else gradient.norm().item()
        assert found == pytest.approx(norm, rel=2e-3, abs=1e-6), name


def test_labels_thresholds_and_views(step):
    number, g, model, views, _, seen = step
    if number > 2000:
        for label, name in zip(seen['labels'], ('pseudo_label_2', 'pseudo_label_1'), strict=True):
            assert (label[:, ::2, ::2] != g[name].long()).float().mean() <= 0.005, name
        model.iteration = number
        present = model.branch1.present_classes(g['image_labels'], samples_of(g['image_labels'], g['boxes']))
        found = model.upper_thresholds(present)
        torch.testing.assert_close(found, g['image_thresholds'], rtol=0, atol=1e-6)
    if 'ops' in g:
        # the published view is flipped by then
        close(F.avg_pool2d(views['strong_view'].flip(-1), 4), g['augmented'])
    if number > 8000:
        for (weak, strong, unlabelled), branch in zip(seen['masks'], (1, 2), strict=True):
            sure = (weak.softmax(dim=1).amax(dim=1) > 0.9) & unlabelled
            assert sure.flatten(1).sum(dim=1).tolist() == pytest.approx(g[f'sure_{branch}'].tolist(), rel=5e-3)
            close(F.avg_pool2d(strong, 8), g[f'segs_{branch}_aug'])


def test_token_labels(step):
    _, g, _, _, _, seen = step
    for (positive, negative), branch in zip(seen['pairs'], (1, 2), strict=True):
        label = g[f'token_label_{branch}'].flatten(1)
        known = (label != 255)[:, :, None] & (label != 255)[:, None]
        same = label[:, :, None] == label[:, None]
        assert torch.equal(negative, known & ~same)
        assert torch.equal(positive, known & same & ~torch.eye(64, dtype=torch.bool))
