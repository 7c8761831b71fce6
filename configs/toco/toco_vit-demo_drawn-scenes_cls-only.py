"""The demo's baseline: the same backbone, scenes, batches and iterations with a classifier alone.

Reproduces: the rows "cls" and "+aux" of ToCo's Table 4 (final and auxiliary CAM of a classifier), not their figures.
Expected:   see docs/demo.md.
Time:       see docs/demo.md.
Command:    make demo
"""

_base_ = './toco_vit-demo_drawn-scenes.py'
model = dict(projector=None, loss_ptc=None, loss_ctc=None, refiner=None, loss_reg=None)
train_pipeline = _base_.train_pipeline
train_pipeline[1] = dict(type='MultiView', geometry=_base_.geometry, img=_base_.photometry)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
