"""WeakTr, first stage, DeiT-S/16 on PASCAL VOC 2012 train_aug, published command.

Reproduces: arXiv 2304.01184, Table 4: CAM of 66.2 mIoU on train (precision 76.4, recall 83.1); 69.4 in the authors'
            repository.
Expected:   66.2 mIoU (CAM, VOC 2012 train) at the best background threshold, about 0.43; not run
Time:       1 h 23 min on one TITAN X (published)
Command:    python tools/train.py configs/weaktr/weaktr-cam_deit-s16_1xb64-60e_voc12aug-224x224.py
"""

_base_ = [
    '../_base_/models/weaktr-cam_deit-s16.py',
    '../_base_/datasets/voc12_aug_tags.py',
    '../_base_/datasets/deit_pipeline.py',
    '../_base_/schedules/weaktr-cam_60e.py',
    '../_base_/default_runtime.py',
]
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth'
model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)))

train_dataloader = dict(batch_size=64, dataset=dict(pipeline=_base_.deit_pipeline))
