# WeakTr's second stage (arXiv 2304.01184, section 3.2): Segmenter with DeiT-S/16 and gradient clipping, crops of 480.
# The ablations of Tables 5 and 6 are plain values, also for `--cfg-options`:
#   start value tau           model.decode_head.loss_decode.start_value=1.4
#   patch size S              model.decode_head.loss_decode.patch_size=96
#   published code            model.decode_head.loss_decode.batch_threshold=True
# Position embedding, norms, dropout and initial weights are those of the published code.
# The decoder has the width of the backbone and heads of 64 channels, as the backbone has.
model = dict(
    type='OnlineRetraining',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(480, 480),
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='TokenViT',
        arch='deit-small',
        # one position per patch of the crop, made from the pretrained grid when that is loaded
        img_size=480,
        interpolate_mode='bilinear',
        norm_cfg=dict(type='LN', eps=1e-5),
        drop_path_rate=0.1,
    ),
    decode_head=dict(
        type='MaskTransformerHead',
        in_index=0,
        num_layers=2,
        # in the blocks; `dropout_ratio` would be that before the classes
        drop_rate=0.1,
        attn_drop_rate=0.1,
        drop_path_rate=0.0,
        dropout_ratio=0.0,
        num_classes=21,
        align_corners=False,
        loss_decode=dict(type='GradientClippedCrossEntropy', start_value=1.2, patch_size=120),
    ),
    # every window is full and of whole patches: images are no smaller than it (`ResizeToFill`)
    test_cfg=dict(mode='slide', crop_size=(480, 480), stride=(320, 320)),
)
