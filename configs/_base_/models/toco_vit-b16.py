# ToCo (CVPR 2023) with ViT-B/16, 20 classes. The ablations are plain values, also for `--cfg-options`:
#   Table 4, without PTC      model.loss_ptc=None
#   Table 4, without CTC      model.loss_ctc=None model.projector=None
#   Table 4, without L_seg    model.refiner=None model.loss_reg=None
#   Table 4, without L_reg    model.loss_reg=None
#   Table 5a, block 8 to 11   model.backbone.out_indices="(7,11)" ... "(10,11)"
#   Table 5b, local crops     model.local_crop_size=64
#   Table 5c, momentum        model.projector.momentum=0
#
# Parts have the width of the backbone. `num_classes` counts the foreground; the decode head has the background too.
model = dict(
    type='ToCo',
    num_classes=20,
    data_preprocessor=dict(
        type='WSSSDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(type='TokenViT', arch='base', out_indices=(9, 11), freeze_pos_embed=True),
    cam_head=dict(type='ClsCAMHead', in_index=1),
    aux_cam_head=dict(type='ClsCAMHead', in_index=0),
    projector=dict(type='EMAProjector', momentum=0.9),
    loss_ptc=dict(type='PatchTokenContrastLoss', loss_weight=0.2),
    loss_ctc=dict(type='ClassTokenContrastLoss', temperature=0.5, loss_weight=0.5),
    refiner=dict(type='PAR'),
    loss_reg=dict(type='DenseEnergyLoss', loss_weight=0.05),
    cam_scales=(1.0, 0.5, 1.5),
    cam_thresholds=(0.25, 0.7),
    background_threshold=0.5,
    num_local_crops=8,
    local_crop_size=96,
    starts=dict(loss_seg=2001, loss_reg=2001),
    # LargeFOV: two 3x3 convolutions with dilation 5
    decode_head=dict(
        type='FCNHead',
        in_index=1,
        channels=512,
        num_convs=2,
        kernel_size=3,
        dilation=5,
        concat_input=False,
        dropout_ratio=0.0,
        norm_cfg=None,
        align_corners=False,
        loss_decode=dict(type='BalancedCrossEntropyLoss', loss_weight=0.1),
    ),
    test_cfg=dict(mode='whole', cam=True),
)
