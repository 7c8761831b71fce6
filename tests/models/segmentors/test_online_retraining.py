"""OnlineRetraining: the loss and the numbers in the log, with four decode heads; what the clipping leaves to learn."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_wsss.models.losses import clipped_cross_entropy

CLASSES, CHANNELS, SIZE, IGNORE = 4, 32, 32, 255
LOSS = dict(type='GradientClippedCrossEntropy', start_value=10.0, patch_size=8)
HEAD = dict(in_channels=CHANNELS, channels=16, num_classes=CLASSES, dropout_ratio=0.0, align_corners=False)
LEVELS = dict(HEAD, in_channels=[CHANNELS] * 4, in_index=[0, 1, 2, 3], norm_cfg=dict(type='BN'))
NECK = dict(type='Feature2Pyramid', embed_dim=CHANNELS, rescales=[4, 2, 1, 0.5], norm_cfg=dict(type='BN'))
SEGMENTER = dict(
    HEAD,
    type='SegmenterMaskTransformerHead',
    in_index=3,
    channels=CHANNELS,
    embed_dims=CHANNELS,
    num_heads=2,
    num_layers=2,
    drop_path_rate=0.0,
)
HEADS = {
    'SegmenterMaskTransformerHead': dict(decode_head=SEGMENTER),
    'FCNHead': dict(decode_head=dict(HEAD, type='FCNHead', in_index=3, num_convs=1, concat_input=False)),
    'SegformerHead': dict(decode_head=dict(LEVELS, type='SegformerHead')),
    'UPerHead': dict(decode_head=dict(LEVELS, type='UPerHead', pool_scales=(1, 2)), neck=NECK),
}


def build(*, type: str = 'OnlineRetraining', loss: dict = LOSS, head: str = 'SegmenterMaskTransformerHead', **changes):
    """A ViT of four small blocks with this head, in training mode."""
    init_default_scope('mmseg')
    parts = {key: dict(value) for key, value in HEADS[head].items()}
    parts['decode_head']['loss_decode'] = loss
    config = dict(
        type=type,
        data_preprocessor=dict(type='SegDataPreProcessor', size=(SIZE, SIZE), pad_val=0, seg_pad_val=IGNORE),
        backbone=dict(
            type='TokenViT',
            arch=dict(embed_dims=CHANNELS, num_layers=4, num_heads=2, feedforward_channels=64),
            img_size=SIZE,
            patch_size=8,
            out_indices=(0, 1, 2, 3),
        ),
        **parts,
    )
    model = MODELS.build(ConfigDict({**config, **changes}))
    model.init_weights()
    return model.train()


def batch(ground_truth_size: tuple[int, int] | None = (SIZE, SIZE)) -> tuple[Tensor, list[SegDataSample]]:
    """Two images; the pseudo-mask is the ground truth but for a square, with some ignored pixels in either."""
    images, samples = torch.randn(2, 3, SIZE, SIZE), []
    for _ in range(2):
        ground_truth = torch.randint(CLASSES, (1, 4, 4)).repeat_interleave(8, 1).repeat_interleave(8, 2)
        pseudo = ground_truth.clone()
        pseudo[:, 8:20, 8:20] = 1
        pseudo[:, :2], ground_truth[:, :, :3] = IGNORE, IGNORE
        sample = SegDataSample(metainfo=dict(img_shape=ground_truth_size or (SIZE, SIZE), img_path='a.jpg'))
        sample.gt_sem_seg = PixelData(data=pseudo)
        if ground_truth_size is not None:
            sample.set_data(
                {'ground_truth': PixelData(data=ground_truth[:, : ground_truth_size[0], : ground_truth_size[1]])}
            )
        samples.append(sample)
    return images, samples


def stacked(samples: list[SegDataSample], name: str) -> Tensor:
    return torch.cat([sample.get(name).data for sample in samples])


@pytest.mark.parametrize('head', HEADS)
def test_each_head_trains_and_the_clipped_gradient_reaches_the_backbone(head):
    """The gradient of the backbone is that of the kept pixels alone, computed here from the head's own logits."""
    model, (images, samples) = build(head=head), batch()
    # The same network twice: once through mmseg, once by hand with the plain loss of the kept pixels. Batch
    # statistics stay out of it.
    for part in model.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.eval()
    losses = model.loss(images, samples)
    losses['decode.loss_seg'].backward()
    first = model.backbone.patch_embed.projection.weight
    ours = first.grad.clone()
    clipped = model.decode_head.loss_decode.clipped
    assert 0.05 < clipped.float().mean() < 0.6
    assert ours.abs().sum() > 0

    def by_hand(keep: Tensor) -> Tensor:
        model.zero_grad()
        logits = F.interpolate(model._forward(images), size=(SIZE, SIZE), mode='bilinear', align_corners=False)
        label = stacked(samples, 'gt_sem_seg')
        loss_map = F.cross_entropy(logits, label, ignore_index=IGNORE, reduction='none')
        (loss_map * keep).mean().backward()
        return first.grad.clone()

    torch.testing.assert_close(ours, by_hand(~clipped), rtol=1e-3, atol=1e-7)
    assert (ours - by_hand(torch.ones_like(clipped))).norm() > 0.05 * ours.norm(), 'clipping makes a difference'


@pytest.mark.parametrize('head', HEADS)
def test_a_few_steps_lower_the_loss(head):
    model, (images, samples) = build(head=head), batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    values = []
    for _ in range(6):
        optimizer.zero_grad()
        losses = model.loss(images, samples)
        losses['decode.loss_seg'].backward()
        optimizer.step()
        values.append(losses['decode.loss_seg'].item())
    assert all(value == value and value < 20 for value in values)
    assert values[-1] < 0.96 * values[0]


def test_shares_in_the_log_by_a_slow_count():
    model, (images, samples) = build(), batch()
    losses = model.loss(images, samples)
    clipped = model.decode_head.loss_decode.clipped.flatten().tolist()
    pseudo, ground_truth = (stacked(samples, name).flatten().tolist() for name in ('gt_sem_seg', 'ground_truth'))
    pixels = [*zip(pseudo, ground_truth, clipped, strict=True)]
    labelled = [c for p, _, c in pixels if p != IGNORE]
    kept = [p == t for p, t, c in pixels if IGNORE not in (p, t) and not c]
    known = [p == t for p, t, _ in pixels if IGNORE not in (p, t)]
    assert losses['clip.share'].item() == pytest.approx(sum(labelled) / len(labelled))
    assert losses['clip.precision'].item() == pytest.approx(sum(kept) / len(kept))
    assert losses['clip.precision_all'].item() == pytest.approx(sum(known) / len(known))
    assert 0 < losses['clip.share'] < 1
    assert losses['clip.precision_all'] < 1


def test_mmengine_does_not_sum_the_shares():
    model, (images, samples) = build(), batch()
    losses = model.loss(images, samples)
    total, log = model.parse_losses(losses)
    assert total.item() == losses['decode.loss_seg'].item()
    assert log['clip.precision'] == losses['clip.precision']


def test_ground_truth_is_padded_like_the_pseudo_mask():
    model, (images, samples) = build(), batch(ground_truth_size=(24, 28))
    losses = model.loss(images, samples)
    pseudo, small = stacked(samples, 'gt_sem_seg'), stacked(samples, 'ground_truth')
    known = torch.full_like(pseudo, IGNORE)
    known[:, :24, :28] = small
    kept = (pseudo != IGNORE) & (known != IGNORE) & ~model.decode_head.loss_decode.clipped
    assert losses['clip.precision'].item() == pytest.approx((pseudo == known)[kept].float().mean().item())


def test_ground_truth_without_the_geometry_of_its_image_is_refused():
    model, (images, samples) = build(), batch(ground_truth_size=(24, 28))
    samples[1].set_metainfo(dict(img_shape=(32, 32)))
    with pytest.raises(ValueError, match=r'a\.jpg: the ground truth is 24x28 pixels, its image 32x32: .* seg_fields'):
        model.loss(images, samples)


def test_without_ground_truth_only_the_share_is_logged():
    model, (images, samples) = build(), batch(ground_truth_size=None)
    assert {key for key in model.loss(images, samples) if key.startswith('clip')} == {'clip.share'}


def test_a_batch_that_is_ignored_gives_zeros_not_nan():
    model, (images, samples) = build(), batch()
    for sample in samples:
        sample.gt_sem_seg.data.fill_(IGNORE)
    losses = model.loss(images, samples)
    assert [losses[key].item() for key in ('decode.loss_seg', 'clip.share', 'clip.precision')] == [0, 0, 0]


def test_a_plain_encoder_decoder_has_the_same_loss():
    images, samples = batch()
    torch.manual_seed(1)
    ours = build().loss(images, samples)['decode.loss_seg']
    torch.manual_seed(1)
    plain = build(type='EncoderDecoder').loss(images, samples)
    assert 'clip.share' not in plain
    assert plain['decode.loss_seg'].item() == pytest.approx(ours.item())


def test_several_losses_of_one_head():
    loss = [dict(LOSS, loss_name='loss_clip'), dict(type='CrossEntropyLoss', loss_name='loss_ce')]
    model, (images, samples) = build(loss=loss), batch()
    losses = model.loss(images, samples)
    assert losses['decode.loss_clip'] < losses['decode.loss_ce']
    assert losses['clip.share'] > 0


def test_clipping_uses_the_logits_of_the_head():
    model, (images, samples) = build(), batch()
    model.eval()
    logits = F.interpolate(model._forward(images), size=(SIZE, SIZE), mode='bilinear', align_corners=False)
    expected, clipped = clipped_cross_entropy(logits, stacked(samples, 'gt_sem_seg'), start_value=10.0, patch_size=8)
    losses = model.loss(images, samples)
    torch.testing.assert_close(losses['decode.loss_seg'], expected.mean())
    assert torch.equal(model.decode_head.loss_decode.clipped, clipped)


def test_what_does_not_fit_is_reported_when_the_model_is_built():
    with pytest.raises(ValueError, match=r'needs GradientClippedCrossEntropy in decode_head\.loss_decode'):
        build(loss=dict(type='CrossEntropyLoss'))
    with pytest.raises(ValueError, match=r'patch_size .* is 120, but the training crop is 32x32 pixels: .* \(8\)'):
        build(loss=dict(type='GradientClippedCrossEntropy'))
