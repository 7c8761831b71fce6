# First stage of WeakTr on VOC 2012: AdamW, 6e-4 * 64 / 512, 60 epochs of 165 batches of 64, 5 of them warm-up, cosine.
# As in DeiT, weight decay spares vectors (biases, norms), class tokens and position embedding.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=7.5e-5, betas=(0.9, 0.999), weight_decay=0.03, fused=True),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys=dict(cls_token=dict(decay_mult=0.0), pos_embed=dict(decay_mult=0.0)),
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.0133, by_epoch=False, begin=0, end=825),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=825, end=9900),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=9900, val_interval=1650)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
