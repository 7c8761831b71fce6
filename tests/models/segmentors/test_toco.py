import math

import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from tiny_toco import CHANNELS, CLASSES, SIZE, build_toco, fcn_head, make_batch, total

from mmseg_wsss.models.cam import PresentClasses, cam_to_label, pair_relation
from mmseg_wsss.models.losses import DenseEnergyLoss, balanced_cross_entropy, patch_token_contrast

LABELS = [[0, 2], [1]]
TWO_DEPTHS = dict(
    in_channels=[CHANNELS, CHANNELS],
    in_index=[0, 1],
    channels=16,
    num_classes=CLASSES + 1,
    norm_cfg=dict(type='BN'),
    loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.1),
)


def finite(losses, model):
    total(losses).backward()
    assert all(torch.isfinite(v).all() for k, v in losses.items() if 'loss' in k), losses
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_the_terms_are_the_papers():
    torch.manual_seed(3)
    model = build_toco()
    views, samples = make_batch(LABELS)
    losses = model.loss(views, samples)
    assert set(losses) == {
        'loss_cls', 'loss_cls_aux', 'loss_ptc', 'loss_ctc', 'decode.loss_seg', 'decode.acc_seg',
    }  # fmt: skip
    with torch.no_grad():
        aux, final = model.backbone(views['img'])
        target = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
        for name, maps, head in (('cls', final, model.cam_head), ('cls_aux', aux, model.aux_cam_head)):
            logits = maps.amax((2, 3)) @ head.classifier.weight[:, :, 0, 0].T
            by_hand = F.binary_cross_entropy_with_logits(logits, target)  # mean over classes and images
            assert losses[f'loss_{name}'].item() == pytest.approx(by_hand.item(), abs=1e-6)
        cam_aux = model.cams(views['img'])['cam_aux'] * target[:, :, None, None]
        token_cam = F.interpolate(cam_aux, size=(4, 4), mode='bilinear', align_corners=False)
        label = cam_to_label(token_cam, low=0.25, high=0.7)
        by_hand = 0.2 * patch_token_contrast(final, *pair_relation(label))
    assert losses['loss_ptc'].item() == pytest.approx(by_hand.item(), abs=1e-6)


def test_no_gradient_through_cams_and_teacher():
    model = build_toco()
    views, samples = make_batch(LABELS)
    losses = model.loss(views, samples)
    losses['loss_ptc'].backward(retain_graph=True)
    assert model.aux_cam_head.classifier.weight.grad is None
    losses['loss_ctc'].backward(retain_graph=True)
    assert all(p.grad is None for p in model.projector.teacher.parameters())
    losses['decode.loss_seg'].backward()
    assert model.cam_head.classifier.weight.grad is None
    assert model.decode_head.conv_seg.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    ('changes', 'terms'),
    [
        (dict(aux_cam_head=None, loss_ptc=None, loss_ctc=None, refiner=None), {'loss_cls'}),
        (dict(loss_ptc=None, loss_ctc=None, refiner=None), {'loss_cls', 'loss_cls_aux'}),
        (dict(loss_ctc=None, refiner=None), {'loss_cls', 'loss_cls_aux', 'loss_ptc'}),
        (dict(refiner=None), {'loss_cls', 'loss_cls_aux', 'loss_ptc', 'loss_ctc'}),
    ],
)
def test_rows_of_table_4(changes, terms):
    model = build_toco(**changes)
    views, samples = make_batch(LABELS)
    losses = model.loss(views if 'loss_ctc' in terms else views['img'], samples)
    assert set(losses) == terms
    finite(losses, model)


def test_impossible_ablations_are_refused():
    with pytest.raises(ValueError, match='loss_ptc needs aux_cam_head'):
        build_toco(aux_cam_head=None, loss_ctc=None)
    with pytest.raises(ValueError, match='loss_ctc needs aux_cam_head'):
        build_toco(projector=None)
    with pytest.raises(ValueError, match='starts has loss_cls=3, loss_seg=-1; it takes iterations from 0 for loss_ptc'):
        build_toco(starts=dict(loss_cls=3, loss_ptc=0, loss_seg=-1))
    with pytest.raises(ValueError, match='needs labels from the auxiliary CAM'):
        build_toco(aux_cam_head=None, loss_ptc=None, loss_ctc=None, starts=dict(final_cam=1))
    with pytest.raises(ValueError, match='0 <= low < high <= 1'):
        build_toco(cam_thresholds=(0.7, 0.25))
    energy = dict(type='DenseEnergyLoss')
    enc_head = dict(TWO_DEPTHS, type='EncHead', num_codes=4)
    with pytest.raises(ValueError, match='loss_reg needs the logits of loss_seg'):
        build_toco(loss_reg=energy, starts=dict(loss_seg=2, loss_reg=1))
    with pytest.raises(ValueError, match='loss_reg needs refiner'):
        build_toco(refiner=None, loss_reg=energy)
    with pytest.raises(ValueError, match='EncHead makes its loss differently'):
        build_toco(decode_head=enc_head, loss_reg=energy)
    with pytest.raises(ValueError, match='must be one more'):
        build_toco(decode_head=dict(fcn_head(), num_classes=CLASSES))


def test_dense_energy_is_that_of_the_segmentation():
    """L_reg at the very pseudo-label and logits of the segmentation loss, which stays what it is without."""
    torch.manual_seed(3)
    model = build_toco(loss_reg=dict(type='DenseEnergyLoss', weight=1e-3))
    views, samples = make_batch(LABELS)
    samples[1].set_metainfo(dict(valid_box=(0, SIZE, 8, SIZE)))
    plain = build_toco()
    plain.load_state_dict(model.state_dict())
    seen, inner = [], model.pseudo_label
    model.pseudo_label = lambda *args: seen.append(inner(*args)) or seen[-1]
    torch.manual_seed(4)
    losses = model.loss(views, samples)
    torch.manual_seed(4)
    without = plain.loss(views, samples)
    assert set(losses) == {*without, 'loss_reg'}
    assert {key: losses[key].item() for key in without} == {key: value.item() for key, value in without.items()}

    logits = model.decode_head(model.backbone(views['img']))
    (label,) = seen
    valid = torch.ones(2, SIZE, SIZE, dtype=torch.bool)
    valid[1, :, :8] = False
    unit = ((views['img'] * 127.5 + 127.5) / 255).clamp(0, 1)
    exact = DenseEnergyLoss(weight=1e-3, max_groups=None)(unit, logits, label, valid)
    assert losses['loss_reg'].item() == pytest.approx(exact.item(), rel=0.02)
    assert losses['loss_reg'].item() < 0
    losses['loss_reg'].backward()
    assert model.decode_head.conv_seg.weight.grad.abs().max() > 0
    assert model.cam_head.classifier.weight.grad is None


def test_segmentation_loss_starts_at_its_iteration_and_the_counter_is_saved():
    model = build_toco(starts=dict(loss_seg=2))
    views, samples = make_batch(LABELS)
    for _ in range(2):
        assert 'decode.loss_seg' not in model.loss(views, samples)
    other = build_toco(starts=dict(loss_seg=2))
    other.load_state_dict(model.state_dict())
    assert other.iteration == 2
    assert 'decode.loss_seg' in other.loss(views, samples)


def force_cams(model, value):
    """Make every CAM the same constant after normalisation."""
    model.training_cams = lambda images, maps, present: dict.fromkeys(
        ('cam', 'cam_aux'), torch.full((*present.score.shape, SIZE, SIZE), value)
    )


@pytest.mark.parametrize('dtype', [None, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ('labels', 'cam'),
    [
        (LABELS, None),
        ([[0]], None),  # batch 1, one class only
        ([[], []], None),  # no foreground
        (LABELS, 0.0),  # background everywhere: every local crop negative, no positive pairs of foreground
        (LABELS, 1.0),  # foreground everywhere: no negatives
        (LABELS, 0.5),  # uncertain everywhere: every label 255
    ],
)
def test_never_nan(labels, cam, dtype):
    model = build_toco()
    if cam is not None:
        force_cams(model, cam)
    views, samples = make_batch(labels)
    with torch.autocast('cpu', dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        losses = model.loss(views, samples)
    finite(losses, model)
    if cam == 0.5:
        assert losses['loss_ptc'].item() == pytest.approx(0.2 * 0.5)


def test_a_token_counts_where_its_centre_shows_the_image():
    """Patches of 8 pixels; the box begins and ends inside patches."""
    model = build_toco()
    views, samples = make_batch([[0, 1]])
    samples[0].set_metainfo(dict(valid_box=(3, SIZE - 5, 5, SIZE)))  # rows 3..26, columns 5..31
    pairs = []
    model.loss_ptc.register_forward_pre_hook(lambda module, inputs: pairs.append(inputs[1] | inputs[2]))
    force_cams(model, 0.0)  # everything is background, so every valid pair is known
    model.loss(views, samples)
    counts = pairs[0][0].any(dim=0).view(4, 4)
    # centres at 4, 12, 20, 28: rows 4, 12 and 20 are inside, columns 12, 20 and 28
    assert counts.long().tolist() == [[0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]


def test_padding_gets_no_pseudo_label():
    model = build_toco()
    views, samples = make_batch([[0, 1]])
    samples[0].set_metainfo(dict(valid_box=(8, SIZE, 0, 24)))
    mask = model.valid_mask(views['img'], samples)
    cam = torch.rand(1, CLASSES, SIZE, SIZE)
    present = PresentClasses.of(torch.tensor([[1.0, 1, 0]]), 3)
    data = model.pseudo_label(model.data_preprocessor.to_unit(views['img']), cam, present, mask)[0]
    assert (data[:8] == 255).all()
    assert (data[:, 24:] == 255).all()
    assert (data[8:, :24] != 255).any()


HEADS = {
    'segmenter': dict(
        type='SegmenterMaskTransformerHead',
        in_channels=CHANNELS,
        channels=CHANNELS,
        num_classes=CLASSES + 1,
        num_layers=1,
        num_heads=2,
        embed_dims=CHANNELS,
        dropout_ratio=0.0,
        loss_decode=dict(type='BalancedCrossEntropyLoss', loss_weight=0.1),
    ),
    'segformer': dict(TWO_DEPTHS, type='SegformerHead'),
    'uper': dict(TWO_DEPTHS, type='UPerHead', pool_scales=(1, 2)),
}


@pytest.mark.parametrize('name', HEADS)
def test_any_decode_head_learns_the_pseudo_label(name):
    torch.manual_seed(0)
    model = build_toco(decode_head=HEADS[name])
    views, samples = make_batch(LABELS)
    parameters = list(model.decode_head.parameters())
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    history = []
    fixed = torch.zeros(2, SIZE, SIZE, dtype=torch.long)
    fixed[:, 16:] = 2
    model.pseudo_label = lambda *args: fixed
    for _ in range(12):
        losses = model.loss(views, samples)
        assert 'gt_sem_seg' not in samples[0], 'labels go into copies'
        value = sum(v for k, v in losses.items() if k.startswith('decode.loss'))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        history.append(value.item())
    assert history[-1] < 0.5 * history[0], history
    predicted = model.eval().predict(views['img'], samples)[0]
    assert predicted.seg_logits.data.shape == (CLASSES + 1, SIZE, SIZE)


def test_auxiliary_heads_learn_the_pseudo_label_too():
    model = build_toco(auxiliary_head=dict(fcn_head(), in_index=0), starts=dict(loss_seg=1))
    views, samples = make_batch(LABELS)
    fixed = torch.zeros(2, SIZE, SIZE, dtype=torch.long)
    fixed[:, 16:] = 2
    model.pseudo_label = lambda *args: fixed
    assert 'aux.loss_seg' not in model.loss(views, samples)
    losses = model.loss(views, samples)
    maps = model.backbone(views['img'])
    for prefix, head in (('decode', model.decode_head), ('aux', model.auxiliary_head)):
        logits = F.interpolate(head(maps), size=(SIZE, SIZE), mode='bilinear')
        expected = 0.1 * balanced_cross_entropy(logits, fixed)
        torch.testing.assert_close(losses[f'{prefix}.loss_seg'], expected)
    losses['aux.loss_seg'].backward()
    assert model.auxiliary_head.conv_seg.weight.grad.abs().max() > 0
    assert model.decode_head.conv_seg.weight.grad is None


def test_a_crop_without_a_box_shows_the_image_everywhere():
    model = build_toco()
    _, samples = make_batch(LABELS)
    del samples[0].valid_box
    samples[1].set_metainfo(dict(valid_box=(1, 3, 0, 5)))
    mask = model.valid_mask(torch.zeros(2, 3, 4, 6), samples)
    assert mask[0].all()
    assert mask[1].long().tolist() == [[0] * 6, [1] * 5 + [0], [1] * 5 + [0], [0] * 6]


def test_predict_returns_masked_cams_at_the_original_size():
    model = build_toco().eval()
    views, samples = make_batch([[2]])
    samples[0].set_metainfo(dict(ori_shape=(50, 40)))
    with torch.no_grad():
        sample = model.predict(views['img'], samples)[0]
        raw = model.cams(views['img'])['cam_aux']
    expected = F.interpolate(raw, size=(50, 40), mode='bilinear', align_corners=False)[0]
    expected[:2] = 0
    torch.testing.assert_close(sample.cam_aux.data, expected)
    assert sample.pred_sem_seg.data.shape == (1, 50, 40)
    model.test_cfg['cam'] = False
    assert 'cam' not in model.predict(views['img'], make_batch([[2]])[1])[0]


def test_cams_leave_out_padding_and_turn_back_the_flip():
    model = build_toco().eval()
    views, samples = make_batch([[0, 1, 2]])
    raw = torch.rand(1, CLASSES, SIZE, SIZE)
    model.cams = lambda images, maps: dict(cam=raw)
    samples[0].set_metainfo(
        dict(img_padding_size=(0, 8, 0, 4), ori_shape=(28, 24), flip=True, flip_direction='horizontal')
    )
    cam = model.predict(views['img'], samples)[0].cam.data
    torch.testing.assert_close(cam, raw[0, :, :28, :24].flip(-1))


def test_one_class_in_all():
    model = build_toco(
        cam_head=dict(type='ClsCAMHead', num_classes=1, in_channels=CHANNELS, in_index=1),
        aux_cam_head=dict(type='ClsCAMHead', num_classes=1, in_channels=CHANNELS, in_index=0),
        decode_head=dict(fcn_head(), num_classes=2),
    )
    views, samples = make_batch([[0], []])
    for sample in samples:
        sample.set_field(sample.gt_score[:1], 'gt_score')
    finite(model.loss(views, samples), model)
    with torch.no_grad():
        sample = model.eval().predict(views['img'][:1], samples[:1])[0]
        expected = model.cams(views['img'][:1])['cam'][0]
    torch.testing.assert_close(sample.cam.data, expected)


def test_number_of_encoder_passes_in_a_step():
    model = build_toco(cam_scales=(1.0, 0.5))
    views, samples = make_batch(LABELS)
    seen = []
    inner = model.backbone.tokens
    model.backbone.tokens = lambda x, **kw: (seen.append(tuple(x.shape)), inner(x, **kw))[1]
    model.loss(views, samples)
    half = SIZE // 2
    main, flip, small, second, local = (2, SIZE), (2, SIZE), (4, half), (2, SIZE), (2 * 4, 16)
    assert [(s[0], s[-1]) for s in seen] == [main, flip, small, second, local]
    patches = sum(s[0] * (s[-1] // 8) ** 2 for s in seen)
    assert patches == 2 * 16 + 2 * 16 + 4 * 4 + 2 * 16 + 8 * 4


def test_a_label_is_needed():
    model = build_toco()
    with pytest.raises(ValueError, match=r'photo\.jpg has no image-level label'):
        model.loss(make_batch([[0]])[0], [SegDataSample(metainfo=dict(img_path='photo.jpg'))])


def test_a_pipeline_without_the_views_of_ctc_is_named():
    views, samples = make_batch([[0]])
    with pytest.raises(ValueError, match=r"needs global_view and local_view beside \['img'\]: add them to MultiView"):
        build_toco().loss(views['img'], samples)


def test_log_two_is_the_loss_of_an_undecided_classifier():
    model = build_toco(loss_ptc=None, loss_ctc=None, refiner=None)
    torch.nn.init.zeros_(model.cam_head.classifier.weight)
    views, samples = make_batch(LABELS)
    assert model.loss(views, samples)['loss_cls'].item() == pytest.approx(math.log(2), abs=1e-6)
