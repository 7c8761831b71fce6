# First stage of MCTformer+ on VOC 2012: AdamW, 5e-4 * 32 / 512, no weight decay on norms, biases and class tokens, 45
# epochs of 330 batches of 32, cosine after a warm-up; the rate changes once per epoch, one epoch late.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='SummaryOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=3.125e-5, betas=(0.9, 0.999), weight_decay=0.05, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys=dict(cls_token=dict(decay_mult=0.0))),
)
param_scheduler = [
    dict(
        type='EpochCosineLR',
        epoch_iters=330,
        epochs=45,
        warmup_epochs=5,
        warmup_lr=1e-6,
        min_lr=1e-5,
        by_epoch=False,
        end=14850,
    )
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=14850, val_interval=1650)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
