# DuPL (CVPR 2024) with DeiT-B/16, 20 classes: two networks like ToCo's without its class token contrast. Everything but
# the losses between them is given once and built twice. The ablations are plain values, also for `--cfg-options`:
#   without discrepancy       model.loss_discrepancy=None
#   without noise filter      model.noise_filter=None
#   without consistency       model.loss_consistency=None
#   fixed threshold           model.end_thresholds=0.7
#   one branch in a test      model.test_cfg.branches="(1,)"
model = dict(
    type='DuPL',
    num_classes=20,
    data_preprocessor=dict(
        type='WSSSDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(type='TokenViT', arch='deit-base', out_indices=(9, 11), freeze_pos_embed=True),
    cam_head=dict(type='ClsCAMHead', in_index=1),
    aux_cam_head=dict(type='ClsCAMHead', in_index=0),
    loss_ptc=dict(type='PatchTokenContrastLoss', loss_weight=0.2),
    # The cosine over the positions, as in the published code: the published numbers were made with it.
    loss_discrepancy=dict(type='FeatureDiscrepancyLoss', loss_weight=0.1, as_published=True),
    loss_consistency=dict(type='ConfidentConsistencyLoss', confidence=0.9, loss_weight=0.05),
    noise_filter=dict(type='MixtureNoiseFilter', min_loss=0.1, min_count=1000, min_gap=1.0, confidence=0.95),
    refiner=dict(type='PAR'),
    cam_scales=(1.0, 0.5, 1.5),
    cam_thresholds=(0.25, 0.7),
    end_thresholds=0.55,
    threshold_iters=18000,
    strong_scale=0.75,
    background_threshold=0.5,
    starts=dict(loss_seg=2001, threshold=2000, noise_filter=8000, loss_consistency=8001),
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
        loss_decode=dict(type='BalancedCrossEntropyLoss', loss_weight=0.2),
    ),
    test_cfg=dict(mode='whole', cam=True),
)
