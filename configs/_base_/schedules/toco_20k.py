# ToCo on VOC 2012: AdamW 6e-5 with new parts at ten times that, weight decay on every parameter, 1500 iterations of
# linear warm-up, polynomial decay over 20,000.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='SummaryOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01, fused=True),
    paramwise_cfg=dict(
        custom_keys=dict(
            cam_head=dict(lr_mult=10),
            aux_cam_head=dict(lr_mult=10),
            projector=dict(lr_mult=10),
            decode_head=dict(lr_mult=10),
        )
    ),
)
param_scheduler = [
    dict(type='WarmupPolyLR', power=0.9, warmup_iters=1500, warmup_factor=1e-6, by_epoch=False, end=20000)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=20000, val_interval=2000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
