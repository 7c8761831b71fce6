# SeCo (CVPR 2024) with ViT-B/16, 20 classes. Parts have the width of the backbone. `num_classes` counts the foreground;
# the decode head has the background too. Losses can be left out: model.loss_ptc=None, model.loss_lil=None,
# model.loss_lig=None, model.loss_reg=None; without both contrasts the second encoder is not built.
model = dict(
    type='SeCo',
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
    projector=dict(type='EMAProjector', momentum=0.999),
    teacher_momentum=0.999,
    memory=dict(length=4608, momentum=0.9),
    loss_ptc=dict(type='PatchTokenContrastLoss', loss_weight=0.3),
    loss_lil=dict(type='MemoryContrastLoss', temperature=0.08, loss_weight=0.5),
    loss_lig=dict(type='PrototypeContrastLoss', temperature=0.1, loss_weight=0.5),
    refiner=dict(type='PAR'),
    loss_reg=dict(type='DenseEnergyLoss', loss_weight=0.05),
    cam_scales=(1.0, 0.5, 0.75, 1.5),
    cam_thresholds=(0.25, 0.7),
    background_threshold=0.5,
    num_local_crops=10,
    local_crop_size=64,
    background_share=0.2,
    # `memory` fills the queue of 4608 with the 96 steps of 4 images before it is used
    starts=dict(
        prototypes=600, memory=905, loss_lil=1001, loss_lig=1001, loss_seg=2001, loss_reg=2001, final_regions=10000
    ),
    decode_head=dict(
        type='AtrousSumHead',
        in_index=1,
        dilations=(6, 12, 18, 24),
        align_corners=False,
        loss_decode=dict(type='BalancedCrossEntropyLoss', loss_weight=0.12),
    ),
    test_cfg=dict(mode='whole', cam=True),
)
