"""Whole training iterations of published SeCo, at every stage of its schedule that was recorded."""

import json

import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from published import GOLDEN, drawn_image
from published_seco import small_seco

from mmseg_wsss.checkpoints import SECO, renamed
from mmseg_wsss.models.cam import cam_to_label, pair_relation
from mmseg_wsss.models.segmentors import seco
from mmseg_wsss.structures import set_image_label

NAMES = {
    'loss_cls': 'cls_loss',
    'loss_cls_aux': 'cls_loss_aux',
    'loss_ptc': 'ptc_loss',
    'loss_lig': 'lig_loss',
    'loss_lil': 'lil_loss',
    'decode.loss_seg': 'seg_loss',
    'loss_reg': 'reg_loss',
}
WEIGHTS = {'loss_ptc': 0.3, 'loss_lig': 0.5, 'loss_lil': 0.5, 'decode.loss_seg': 0.12, 'loss_reg': 0.05}


def batch(recorded):
    """The views, and samples with tags and boxes."""
    names = ('img', 'global_view', 'local_view')
    views = {name: drawn_image(1820 + index, 4, 128, 128) for index, name in enumerate(names)}
    samples = []
    for label, box in zip(recorded['image_labels'], recorded['boxes'].int().tolist(), strict=True):
        sample = SegDataSample(metainfo=dict(valid_box=box, ori_shape=(128, 128), img_shape=(128, 128)))
        samples.append(set_image_label(sample, label.nonzero()[:, 0].tolist(), 6))
    return views, samples


@pytest.fixture
def run(golden, monkeypatch):
    """``run(n, starts)`` is the recording of iteration n, the model after it, its losses, and what went in and out."""

    def run(n: int, **changes):
        recorded, seen = golden(f'seco_iter_{n}'), {}
        model = small_seco(loss_reg=dict(type='DenseEnergyLoss', max_groups=None), **changes).train()
        model.iteration = n
        monkeypatch.setattr(seco, 'sample_corners', lambda *args, **kw: recorded['corners'].long())
        inner = seco.patch_tags
        monkeypatch.setattr(
            seco, 'patch_tags', lambda *args, **kw: seen.setdefault('tags', (args[0], inner(*args, **kw)))[1]
        )
        # published: boxes in pixels on the grid of the tokens, so that padding hides tokens of the image
        monkeypatch.setattr(model, 'token_relation', lambda *args: pair_relation(recorded['token_label'].long()))
        cams, label = model.training_cams, model.pseudo_label
        monkeypatch.setattr(model, 'training_cams', lambda *args: seen.setdefault('cams', cams(*args)))
        monkeypatch.setattr(model, 'pseudo_label', lambda *args: seen.setdefault('label', label(*args)))
        for loss in filter(None, (model.loss_lil, model.loss_lig)):
            loss.register_forward_hook(lambda module, args, out: seen.__setitem__(type(module).__name__, (args, out)))
        losses = model.loss(*batch(recorded))
        return recorded, model, losses, seen

    return run


ALL = dict(prototypes=600, final_regions=10000)


@pytest.mark.parametrize('n', [500, 800, 1500, 2500, 10000])
def test_every_loss_and_what_it_is_made_of(run, n):
    recorded, model, losses, seen = run(n, starts=ALL)
    for name, theirs in NAMES.items():
        value = losses[name].item() / WEIGHTS.get(name, 1)
        assert value == pytest.approx(recorded[theirs].item(), rel=1e-3), name
    assert len(losses) == len(NAMES) + 1, 'and the accuracy'

    for name, cam in seen['cams'].items():
        label = recorded['image_labels'][:, :, None, None]
        present = (recorded[name] * label).sum(dim=1)  # the sums of what is present, whatever the order
        torch.testing.assert_close(F.avg_pool2d(cam, 8).sum(dim=1), present, rtol=0, atol=2e-4)
    differing = seen['label'][:, ::2, ::2] != recorded['pseudo_label']
    assert differing.float().mean() <= 0.005
    region, (whole, patches) = seen['tags']
    roi = recorded['roi']
    expected = torch.where(roi == -1, 255, torch.where(roi == 255, 0, roi))
    assert (region[:, ::4, ::4] != expected).float().mean() <= 0.005
    assert torch.equal(torch.cat((whole[:, None], whole[:, None], patches), dim=1), recorded['flags'].long())
    (features, *_), (_, revised) = seen['MemoryContrastLoss']
    assert torch.equal(revised, recorded['revised_flags'][:, 0].long())
    torch.testing.assert_close(features, recorded['projections'], rtol=0, atol=1e-4)

    memory = model.memory
    torch.testing.assert_close(memory.queue[48:], recorded['queue_keys'], rtol=0, atol=1e-4)
    assert torch.equal(memory.queue_tag, recorded['queue_flags'].long())
    assert memory.queue_ptr.tolist() == recorded['queue_ptr'].tolist() == [0]
    torch.testing.assert_close(memory.prototypes, recorded['prototypes'], rtol=0, atol=1e-4)
    theirs = SECO.to_theirs(model.state_dict())
    names = sorted(key for key in theirs if key.startswith(('encoder_k.', 'proj_head_t.')))
    for name, norm in zip(names, recorded['ema_norms'].tolist(), strict=True):
        if '.last_layer.' not in name:  # not used
            assert theirs[name].norm().item() == pytest.approx(norm, rel=1e-5), name


@pytest.mark.parametrize('n', [500, 1500, 2500, 10000])
def test_weights_and_starts_give_the_published_total_and_its_gradient(run, n):
    recorded, model, losses, _ = run(n)
    total = sum(value for name, value in losses.items() if 'loss' in name)
    assert total.item() == pytest.approx(recorded['loss'].item(), rel=1e-3)
    total.backward()
    names = json.loads((GOLDEN / 'seco_iter_params.json').read_text())
    norms = dict(zip(names, recorded['gradient_norms'].tolist(), strict=True))
    parameters = dict(model.named_parameters())
    for name, norm in norms.items():
        if '.last_layer.' in name:
            assert norm == 0
            continue
        gradient = parameters[renamed(name, SECO.names)].grad
        found = 0.0 if gradient is None else gradient.norm().item()
        assert found == pytest.approx(norm, rel=2e-3, abs=1e-6), name


def test_token_labels_where_nothing_is_padded(golden, run):
    recorded, _, _, seen = run(500)
    token_cam = F.interpolate(seen['cams']['cam_aux'], size=(8, 8), mode='bilinear', align_corners=False)
    label = cam_to_label(token_cam, low=0.25, high=0.7)[[0, 2]]
    expected = recorded['token_label'][[0, 2]].long()
    named = torch.where((label == 1), torch.tensor([2, 6])[:, None, None], label)  # the one class of each image
    assert torch.equal(named, expected)
    assert (recorded['token_label'][[1, 3]] == 255).all(), 'where something is, published boxes hide every token'
