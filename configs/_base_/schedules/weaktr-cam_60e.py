# First stage of WeakTr on VOC 2012: AdamW, 6e-4 * 64 / 512, weight decay on every parameter, 60 epochs of 165 batches
# of 64, cosine after a warm-up; the rate changes once per epoch, one epoch late.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='SummaryOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=7.5e-5, betas=(0.9, 0.999), weight_decay=0.03, fused=True),
)
param_scheduler = [
    dict(
        type='EpochCosineLR',
        epoch_iters=165,
        epochs=60,
        warmup_epochs=5,
        warmup_lr=1e-6,
        min_lr=1e-5,
        by_epoch=False,
        end=9900,
    )
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=9900, val_interval=1650)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
