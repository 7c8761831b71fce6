"""The classifier-only baseline of ToCo's real subset: row one of Table 4 under the same budget.

Reproduces: nothing published; same images, iterations, optimizer and photometry as
            toco_deit-t16_1xb8-2.4k_voc12-animals-256x256.py, but only the two classification losses (rows "cls" and
            "+aux" of Table 4: the final CAM and the auxiliary CAM).
Expected:   docs/results/toco_voc12-animals.md
Time:       docs/results/toco_voc12-animals.md
Command:    python tools/train.py configs/toco/cls-only_deit-t16_1xb8-2.4k_voc12-animals-256x256.py
"""

_base_ = './toco_deit-t16_1xb8-2.4k_voc12-animals-256x256.py'
model = dict(loss_ptc=None, loss_ctc=None, projector=None, refiner=None, loss_reg=None)
train_pipeline = _base_.train_pipeline
train_pipeline[1] = dict(type='MultiView', geometry=train_pipeline[1].geometry, img=train_pipeline[1].img)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
