# MCTformer+, first stage, with DeiT-S/16, 20 classes. Variants that are plain values, also for `--cfg-options`:
#   patch CAM alone, class attention alone   model.cam_head.fusion=patch, class
#   without the contrast                     model.loss_cct=None
#   MCTformer-V2                             model.loss_cct=None model.backbone.pos_embed_offset=0.1
#                                            model.cam_head.fusion=product model.cam_head.decay=1
#                                            model.cam_head.num_blocks=3
#
# What depends on the width and blocks of the backbone follows from it; `num_classes` counts the foreground.
model = dict(
    type='MCTformer',
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
        img_size=448,
        final_norm=False,
        drop_path_rate=0.1,
    ),
    cam_head=dict(type='MCTCAMHead', fusion='sqrt', decay=0.996),
    loss_cct=dict(type='TokenIdentityLoss', temperature=1.0, loss_weight=1.0),
    cam_scales=(1.0, 0.75, 1.25),
    background_threshold=0.43,
    test_cfg=dict(cam=True),
)
