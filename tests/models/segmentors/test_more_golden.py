"""Whole training iterations of published MoRe, at every stage of its schedule that was recorded."""

import json

import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from published import GOLDEN, drawn_image
from published_more import small_more
from recorded_draws import keys_of

from mmseg_wsss.checkpoints import MORE, renamed
from mmseg_wsss.structures import set_image_label

NAMES = {
    'loss_cls': 'cls_loss',
    'loss_cls_aux': 'cls_loss_aux',
    'loss_token': 'attri_loss',
    'loss_certain': 'cle_loss',
    'loss_uncertain': 'une_loss',
    'loss_ptc': 'ptc_loss',
    'decode.loss_seg': 'seg_loss',
    'loss_reg': 'reg_loss',
}
WEIGHTS = {'loss_certain': 0.2, 'loss_uncertain': 0.1, 'loss_ptc': 0.3, 'decode.loss_seg': 0.12, 'loss_reg': 0.05}
SIZE = (192, 192)


def batch(recorded):
    """Images, and samples with tags."""
    samples = []
    for label in recorded['image_labels']:
        sample = SegDataSample(metainfo=dict(ori_shape=SIZE, img_shape=SIZE))
        samples.append(set_image_label(sample, label.nonzero()[:, 0].tolist(), 6))
    return drawn_image(1820, 2, *SIZE), samples


def kept(seen, name, function):
    """The function, which puts its result into ``seen``."""
    return lambda *args: seen.setdefault(name, function(*args))


@pytest.fixture
def run(golden, monkeypatch):
    """``run(n)`` is the recording of iteration n, the model after it, its losses, and what went into them."""

    def run(n: int, **changes):
        recorded, seen = golden(f'more_iter_{n}'), {}
        changes['loss_uncertain'] = dict(type='UncertainTokenLoss', as_published=True)
        changes['loss_reg'] = dict(type='DenseEnergyLoss', max_groups=None, loss_weight=0.05)
        model = small_more(**changes).train()
        model.iteration = n
        keys = keys_of(recorded['permutations'], recorded['uncertain_labels'].long())
        monkeypatch.setattr(torch, 'rand', lambda *shape, **kw: keys)
        for name in ('training_cams', 'pseudo_label', 'class_tokens'):
            monkeypatch.setattr(model, name, kept(seen, name, getattr(model, name)))
        for loss in (model.loss_certain, model.loss_uncertain):
            loss.register_forward_hook(lambda module, args, out: seen.__setitem__(type(module).__name__, args))
        losses = model.loss(*batch(recorded))
        return recorded, model, losses, seen

    return run


@pytest.mark.parametrize('n', [1000, 3000, 12000])
def test_every_loss_and_what_it_is_made_of(run, n):
    recorded, _, losses, seen = run(n, starts=dict(final_tokens=10001))
    for name, theirs in NAMES.items():
        value = losses[name].item() / WEIGHTS.get(name, 1)
        assert value == pytest.approx(recorded[theirs].item(), rel=1e-3), name
    assert len(losses) == len(NAMES) + 1, 'and the accuracy'
    for name, cam in seen['training_cams'].items():
        label = recorded['image_labels'][:, :, None, None]
        present = (recorded[name] * label).sum(dim=1)  # the sums of what is present, whatever the order
        torch.testing.assert_close(F.avg_pool2d(cam, 8).sum(dim=1), present, rtol=0, atol=2e-4)
    differing = seen['pseudo_label'][:, ::2, ::2] != recorded['pseudo_label']
    assert differing.float().mean() <= 0.005
    assert (seen['class_tokens'] - recorded['class_tokens']).abs().max() < 1e-3 * recorded['class_tokens'].abs().max()
    certain, uncertain = seen['CertainTokenLoss'][2], seen['UncertainTokenLoss'][2]
    assert (certain != recorded['certain_labels']).sum() <= 1
    classes = (uncertain > 0) & (uncertain < 255)
    expected = recorded['uncertain_labels']
    assert torch.equal(classes, (expected > 0) & (expected < 255))
    assert torch.equal(uncertain == 255, expected == 255)


@pytest.mark.parametrize('n', [1000, 3000, 12000])
def test_weights_and_starts_give_the_published_total_and_its_gradient(run, n):
    recorded, model, losses, _ = run(n)
    assert ('loss_reg' in losses) == (n > 2000)
    total = sum(value for name, value in losses.items() if 'loss' in name)
    assert total.item() == pytest.approx(recorded['loss'].item(), rel=1e-3)
    total.backward()
    names = json.loads((GOLDEN / 'more_iter_params.json').read_text())
    norms = dict(zip(names, recorded['gradient_norms'].tolist(), strict=True))
    parameters = dict(model.named_parameters())
    for name, norm in norms.items():
        if '.head.' in name or '._fc1.' in name:
            assert norm == 0, 'not used'
            continue
        gradient = parameters[renamed(name, MORE.names)].grad.norm().item()
        assert gradient == pytest.approx(norm, rel=2e-3, abs=1e-6), name
    assert norms['encoder.pos_embed'] > 0.01, 'it is trained'


@pytest.mark.parametrize('n', [1000, 3000])
def test_the_corrected_uncertain_tokens_are_the_default(run, n):
    """The recorded value belongs to tokens that the labels call something else."""
    recorded, _, _, seen = run(n)
    model = small_more().eval()
    assert not model.loss_uncertain.as_published
    corrected = model.loss_uncertain(*seen['UncertainTokenLoss']).item() / 0.1
    assert abs(corrected - recorded['une_loss'].item()) > 1e-3
