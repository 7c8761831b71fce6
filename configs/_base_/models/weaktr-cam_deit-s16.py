# WeakTr's first stage with DeiT-S/16, 20 classes. Comparisons that are plain values, also for `--cfg-options`:
#   Table 8, hidden 144 to 9     model.cam_head.head_weights.reduction=0.5, 1, 2, 4, 8
#   Table 9, average pooling     model.cam_head.head_weights.pooling=avg
#   coarse CAM only              model.cam_head.cross_attention=False model.cam_head.patch_attention=False
#   cross-attention only         model.cam_head.patch_attention=False
# Those that replace `head_weights` (Table 4, mean-sum and random fixed; Eq. 3 to the letter) are small configs:
# configs/weaktr/weaktr-cam-{mean-sum,random-fixed,map-pooling}_*.py.
#
# What depends on the width, blocks and heads of the backbone follows from it; `num_classes` counts the foreground.
model = dict(
    type='WeakTr',
    num_classes=20,
    data_preprocessor=dict(
        type='WSSSDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='TokenViT',
        arch='deit-small',
        final_norm=False,
        drop_path_rate=0.1,
        pos_embed_offset=0.1,
    ),
    cam_head=dict(
        type='AAFCAMHead',
        head_weights=dict(type='OutputPooledWeights', reduction=8, pooling='max'),
    ),
    cam_scales=(1.0, 1.2),
    background_threshold=0.43,
    test_cfg=dict(cam=True),
)
