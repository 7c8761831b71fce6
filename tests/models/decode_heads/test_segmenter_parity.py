"""mmseg's SegmenterMaskTransformerHead is the published decoder of WeakTr's second stage."""

import torch
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from published import published_weights

from mmseg_wsss.checkpoints import MASK_TRANSFORMER


def test_recorded_masks_of_the_published_decoder(golden):
    g = golden('weaktr_mask_transformer')
    with DefaultScope.overwrite_default_scope('mmseg'):
        head = MODELS.build(
            dict(
                type='SegmenterMaskTransformerHead',
                in_channels=48,
                channels=48,
                embed_dims=48,
                num_heads=3,
                num_layers=2,
                num_classes=5,
                dropout_ratio=0.0,
                in_index=0,
            )
        )
    head.load_state_dict(MASK_TRANSFORMER.to_ours(published_weights('weaktr_mask_transformer')))
    maps = g['tokens'].transpose(1, 2).unflatten(2, (4, 6))
    with torch.no_grad():
        masks = head.eval()([maps])
    torch.testing.assert_close(masks, g['masks'], rtol=1e-3, atol=1e-4)
