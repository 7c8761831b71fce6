from itertools import pairwise

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_toco import CHANNELS, CLASSES, SIZE, make_batch, tiny_config, total

from mmseg_wsss.models import SeCo
from mmseg_wsss.models.losses import memory_contrast, prototype_contrast
from mmseg_wsss.models.segmentors import seco

LABELS = [[0, 2], [1]]
VIEWS = 2 + 4  # two whole views and four patches
ENERGY = dict(type='DenseEnergyLoss', weight=1e-3)


def build_seco(**changes) -> SeCo:
    """A tiny model with initialised weights, in training mode."""
    init_default_scope('mmseg')
    config = tiny_config()
    del config['loss_ctc']
    config.update(
        type='SeCo',
        projector=dict(type='EMAProjector', hidden_channels=16),
        memory=dict(length=5 * VIEWS),
        loss_lil=dict(type='MemoryContrastLoss'),
        loss_lig=dict(type='PrototypeContrastLoss'),
        decode_head=dict(
            type='AtrousSumHead',
            in_index=1,
            dilations=(1, 2),
            num_classes=CLASSES + 1,
            loss_decode=dict(type='BalancedCrossEntropyLoss', loss_weight=0.1),
        ),
    )
    config.update(changes)
    model = MODELS.build(ConfigDict(config))
    model.backbone.init_weights()
    model.projector and model.projector.init_weights()
    return model.train()


def spy(model) -> dict:
    """What the two contrasts are called with."""
    seen = {}
    for name in ('loss_lil', 'loss_lig'):
        getattr(model, name).register_forward_pre_hook(lambda module, args, name=name: seen.__setitem__(name, args))
    return seen


def test_the_terms_are_the_papers():
    model, (views, samples) = build_seco(loss_reg=ENERGY), make_batch(LABELS)
    seen = spy(model)
    losses = model.loss(views, samples)
    assert set(losses) == {
        'loss_cls', 'loss_cls_aux', 'loss_ptc', 'loss_lil', 'loss_lig', 'decode.loss_seg', 'decode.acc_seg', 'loss_reg',
    }  # fmt: skip
    features, tags, keys, key_tags = seen['loss_lil']
    assert features.shape == (2 * VIEWS, CHANNELS)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2 * VIEWS))
    lil, revised = memory_contrast(features, tags, keys, key_tags)
    lig = prototype_contrast(features, revised, model.memory.prototypes)
    assert losses['loss_lil'].item() == pytest.approx(0.5 * lil.item(), rel=1e-5)
    assert losses['loss_lig'].item() == pytest.approx(0.5 * lig.item(), rel=1e-5)
    assert seen['loss_lig'][1].tolist() == revised.tolist()
    assert lil > 0.01
    classes = {tag for tag in revised.tolist() if tag > 0}
    assert (lig > 0.01) == (len(classes) > 1), 'of one class alone it is 0'
    losses['loss_lil'].backward(retain_graph=True)
    assert model.projector.student.mlp[0].weight.grad.abs().max() > 0
    total(losses).backward()
    for teacher in (model.teacher, model.projector.teacher):
        assert all(parameter.grad is None for parameter in teacher.parameters())


def test_defaults_are_the_published_numbers():
    model = build_seco(memory=None)
    assert (len(model.memory.queue), model.memory.momentum) == (4608, 0.9)
    assert model.teacher.momentum == pytest.approx(0.001)
    assert (model.background_share, model.as_published) == (0.2, False)
    assert set(model.starts.values()) == {0}
    plain = SeCo.__init__.__kwdefaults__
    assert (plain['num_local_crops'], plain['local_crop_size']) == (10, 64)


def test_queries_and_keys_are_cut_at_the_same_corners(monkeypatch):
    model, (views, samples) = build_seco(), make_batch(LABELS)
    drawn, inner = [], seco.sample_corners
    monkeypatch.setattr(seco, 'sample_corners', lambda *args, **kw: drawn.append(inner(*args, **kw)) or drawn[-1])
    seen = spy(model)
    model.loss(views, samples)
    [corners] = drawn

    def class_token(encoder, name, image, place):
        y, x = corners[image, place - 2].tolist()
        part = views[name][image] if place < 2 else views[name][image][:, y : y + 16, x : x + 16]
        return encoder.tokens(part[None]).cls_token[:, 0]

    features, _, keys, _ = seen['loss_lil']
    for image in range(2):
        for place in range(VIEWS):
            row = image * VIEWS + place
            whole = ('img', 'global_view')[place] if place < 2 else None
            query = model.projector(class_token(model.backbone, whole or 'img', image, place))[0]
            key = model.projector.project_global(class_token(model.teacher.module, whole or 'local_view', image, place))
            torch.testing.assert_close(features[row], query, rtol=0, atol=1e-5)
            torch.testing.assert_close(keys[row], key[0], rtol=0, atol=1e-5)


def test_keys_show_what_their_tags_say():
    """Published: the view of the keys is flipped in half of the samples, the map that its tags come from is not."""
    image = torch.zeros(1, 3, 8, 8)
    image[..., :4] = 1.0  # an object on the left
    region, corners = image[:, 0].long(), torch.tensor([[[0, 0], [0, 4]]])
    tags = seco.patch_tags(region, corners, 4)[1].bool().tolist()
    shown = {name: seco.cut_crops(view, corners, 4).mean(dim=(2, 3, 4)).bool().tolist()
             for name, view in (('aligned', image), ('flipped', image.flip(-1)))}  # fmt: skip
    assert shown['aligned'] == tags == [[True, False]]
    assert shown['flipped'] == [[False, True]], 'the fault'


def test_draws_go_on():
    """Published: the generator is set to 0 for every image, so that every iteration continues alike."""
    model, (views, samples) = build_seco(), make_batch(LABELS)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    model.loss(views, samples)
    assert not torch.equal(torch.get_rng_state(), state)
    first = torch.rand(1)
    model.loss(views, samples)
    assert torch.rand(1) != first
    assert torch.initial_seed() == 5, 'nobody set it'


def test_new_keys_stand_once_among_the_keys():
    for as_published, count in ((False, 1), (True, 2)):
        model, (views, samples) = build_seco(as_published=as_published), make_batch(LABELS)
        seen = spy(model)
        model.loss(views, samples)
        _, tags, keys, key_tags = seen['loss_lil']
        new = model.memory.queue[: 2 * VIEWS]
        same = (keys[None] == new[:, None]).all(dim=-1)
        assert (same.sum(dim=1) == count).all()
        assert torch.equal(key_tags[same[0]], tags[:1].expand(count))


def test_keys_of_whole_views_are_the_teachers():
    for as_published in (False, True):
        model, (views, samples) = build_seco(as_published=as_published), make_batch(LABELS)
        model.teacher.update_parameters(model.backbone)
        with torch.no_grad():
            model.teacher.module.cls_token += torch.randn(CHANNELS)
        model.loss(views, samples)
        keys = model.memory.queue[: 2 * VIEWS].view(2, VIEWS, CHANNELS)
        for place, name in enumerate(('img', 'global_view')):
            for encoder, found in ((model.teacher.module, not as_published), (model.backbone, as_published)):
                expected = model.projector.project_global(encoder.tokens(views[name]).cls_token[:, 0])
                assert torch.allclose(keys[:, place], expected, atol=1e-4) == found


def test_every_loss_begins_at_its_own_iteration():
    starts = dict(
        loss_ptc=1, prototypes=1, memory=2, loss_lil=3, loss_lig=4, loss_seg=5, loss_reg=6, final_regions=4, final_cam=6
    )
    model, (views, samples) = build_seco(loss_reg=ENERGY, starts=starts), make_batch(LABELS)
    sources, inner_cam = [], model._chosen
    model._chosen = lambda cams, start: sources.append((start, model.has_begun(start))) or inner_cam(cams, start)
    terms, prototypes, filled = [], [model.memory.prototypes.clone()], []
    for _ in range(7):
        terms.append({name for name in model.loss(views, samples) if 'acc' not in name})
        prototypes.append(model.memory.prototypes.clone())
        filled.append(int(model.memory.queue_ptr))
    new = [sorted(now - before - {'loss_not_begun'}) for before, now in zip([set(), *terms], terms, strict=False)]
    assert new == [
        ['loss_cls', 'loss_cls_aux'], ['loss_ptc'], [], ['loss_lil'], ['loss_lig'], ['decode.loss_seg'], ['loss_reg'],
    ]  # fmt: skip
    assert ['loss_not_begun' in names for names in terms] == [True] * 5 + [False] * 2
    moved = [not torch.equal(one, two) for one, two in pairwise(prototypes)]
    assert moved == [False] + [True] * 6
    step = 2 * VIEWS
    assert filled == [0, 0] + [(n * step) % (5 * VIEWS) for n in range(1, 6)]
    assert [begun for start, begun in sources if start == 'final_regions'] == [False, False, True, True, True]
    assert [begun for start, begun in sources if start == 'final_cam'] == [False, True]


def test_the_final_cam_is_used_from_its_start_on():
    model = build_seco(starts=dict(final_cam=3))
    cams = dict(cam=torch.ones(1), cam_aux=torch.zeros(1))
    assert [model._chosen(cams, name).item() for name in ('final_cam', 'final_regions')] == [0, 1]


def test_teachers_follow_from_the_first_iteration():
    model, (views, samples) = (
        build_seco(teacher_momentum=0.9, starts=dict(memory=9, loss_lil=9, loss_lig=9)),
        make_batch(LABELS),
    )
    model.loss(views, samples)
    before = model.teacher.module.cls_token.clone()
    torch.testing.assert_close(before, model.backbone.cls_token)
    with torch.no_grad():
        model.backbone.cls_token += 1
    model.loss(views, samples)
    torch.testing.assert_close(model.teacher.module.cls_token, before + 0.1)
    assert (model.teacher.steps, model.projector.teacher.steps) == (2, 2)


@pytest.mark.parametrize(
    ('changes', 'terms'),
    [
        (dict(loss_lil=None), {'loss_ptc', 'loss_lig'}),
        (dict(loss_lig=None), {'loss_ptc', 'loss_lil'}),
        (dict(loss_lil=None, loss_lig=None, projector=None), {'loss_ptc'}),
        (dict(loss_lil=None, loss_lig=None, loss_ptc=None, refiner=None), set()),
    ],
)
def test_losses_can_be_left_out(changes, terms):
    model, (views, samples) = build_seco(**changes), make_batch(LABELS)
    contrasts = terms & {'loss_lil', 'loss_lig'}
    losses = model.loss(views if contrasts else views['img'], samples)
    expected = {'loss_cls', 'loss_cls_aux'} | terms
    assert {name for name in losses if 'decode' not in name} == expected
    assert ('decode.loss_seg' in losses) == ('refiner' not in changes)
    assert bool(contrasts) == any(key.startswith(('teacher.', 'memory.', 'projector.')) for key in model.state_dict())


def test_impossible_configs_are_refused():
    with pytest.raises(ValueError, match='loss_lil and loss_lig needs projector'):
        build_seco(projector=None)
    with pytest.raises(ValueError, match=r'projector\.bottleneck_channels is 8, but must be 32'):
        build_seco(projector=dict(type='EMAProjector', bottleneck_channels=8))
    with pytest.raises(ValueError, match='starts has loss_ctc=3; it takes iterations from 0 for loss_ptc, loss_lil'):
        build_seco(starts=dict(loss_ctc=3))
    with pytest.raises(TypeError, match=r'SeCo cannot work with model\.backbone=ResNet'):
        build_seco(backbone=dict(type='ResNet', depth=18))
    with pytest.raises(ValueError, match=r'momentum \(rho\) must be in \[0, 1\), got 1'):
        build_seco(teacher_momentum=1)
    model = build_seco()
    with pytest.raises(ValueError, match='the loss needs global_view and local_view'):
        model.loss(make_batch(LABELS)[0]['img'], make_batch(LABELS)[1])


@pytest.mark.parametrize('as_published', [False, True])
@pytest.mark.parametrize('dtype', [None, torch.bfloat16])
@pytest.mark.parametrize(
    ('labels', 'cam'), [(LABELS, None), ([[0]], None), ([[], []], None), (LABELS, 0.0), (LABELS, 1.0), (LABELS, 0.5)]
)
def test_never_nan(labels, cam, dtype, as_published):
    loss_lil = dict(type='MemoryContrastLoss', as_published=as_published)
    model = build_seco(as_published=as_published, loss_lil=loss_lil, loss_reg=ENERGY)
    if cam is not None:
        model.training_cams = lambda images, maps, present: dict.fromkeys(
            ('cam', 'cam_aux'), torch.full((*present.score.shape, SIZE, SIZE), cam)
        )
    views, samples = make_batch(labels)
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=dtype is not None):
        losses = model.loss(views, samples)
    total(losses).backward()
    assert all(torch.isfinite(value).all() for name, value in losses.items() if 'loss' in name), losses
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert all(torch.isfinite(value).all() for value in model.memory.state_dict().values())


def test_memory_and_teachers_are_saved():
    model, (views, samples) = build_seco(), make_batch(LABELS)
    for _ in range(2):
        model.loss(views, samples)
    other = build_seco()
    other.load_state_dict(model.state_dict())
    assert other.iteration == 2
    torch.manual_seed(1)
    expected = total(model.loss(views, samples))
    torch.manual_seed(1)
    assert total(other.loss(views, samples)) == expected
    assert torch.equal(other.memory.queue, model.memory.queue)


def test_padding_has_no_candidates_and_counts_as_background(monkeypatch):
    model, (views, samples) = build_seco(), make_batch([[0]])
    samples[0].set_metainfo(dict(valid_box=(0, SIZE, 0, 20)))
    model.training_cams = lambda images, maps, present: dict.fromkeys(
        ('cam', 'cam_aux'), torch.full((1, 1, SIZE, SIZE), 0.5)
    )
    seen, inner = [], seco.sample_corners
    monkeypatch.setattr(
        seco, 'sample_corners', lambda candidate, **kw: seen.append(candidate) or inner(candidate, **kw)
    )
    model.loss(views, samples)
    [candidate] = seen
    assert candidate[0, :, :20].all()
    assert not candidate[0, :, 20:].any()
