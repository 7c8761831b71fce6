"""MCTformer+, first stage, DeiT-S/16 on PASCAL VOC 2012 train_aug, published settings.

Reproduces: arXiv 2308.03005: CAM of 68.8 mIoU on train, a number that was not checked against the paper.
Expected:   68.8 mIoU (CAM, VOC 2012 train) at the best background threshold; not run
Time:       not published; not run
Command:    python tools/train.py configs/mctformer/mctformer-cam_deit-s16_1xb32-45e_voc12aug-448x448.py
"""

_base_ = [
    '../_base_/models/mctformer_deit-s16.py',
    '../_base_/datasets/voc12_aug_tags.py',
    '../_base_/datasets/deit_pipeline.py',
    '../_base_/schedules/mctformer_45e.py',
    '../_base_/default_runtime.py',
]
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth'
init_cfg = dict(type='Pretrained', checkpoint=checkpoint, repeat_positions=True)
model = dict(backbone=dict(init_cfg=init_cfg))

deit_pipeline = _base_.deit_pipeline
deit_pipeline[1].scale = 448
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=deit_pipeline))
