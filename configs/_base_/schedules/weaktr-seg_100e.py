# WeakTr's second stage on VOC 2012: 100 epochs of 10,582 images in batches of 4, SGD with Nesterov momentum, 1e-4 and a
# tenth of it for the encoder, polynomial decay to a tenth of either: the published code applies the encoder's factor
# after its floor of 1e-5.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='SummaryOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=1e-4, momentum=0.9, nesterov=True, weight_decay=0.0),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
max_iters = 264600
param_scheduler = [dict(type='WarmupPolyLR', power=0.9, floor=0.1, by_epoch=False, end=max_iters)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=26460)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
