# WeakTr's second stage on VOC 2012: 100 epochs of 10,582 images in batches of 4, SGD 1e-4 with a tenth of it for the
# encoder, polynomial decay to 1e-5. As in the published code that floor is the same for both, so that the encoder's
# rate, 1e-5, stays what it is.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=1e-4, momentum=0.9, weight_decay=0.0),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
max_iters = 264600
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=1e-5, by_epoch=False, begin=0, end=max_iters)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=26460)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
