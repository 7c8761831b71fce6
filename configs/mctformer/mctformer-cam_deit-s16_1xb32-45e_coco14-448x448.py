"""MCTformer+, first stage, DeiT-S/16 on MS COCO 2014, the published settings of VOC.

Reproduces: arXiv 2308.03005 on COCO. Settings of its own for COCO are not in the published code; its second stage, a
            DeepLab with ResNet38 on labels of AffinityNet, has 45.2 mIoU on val (not checked against the paper).
Expected:   no mIoU of the CAM is known to us; not run
Time:       not published; not run
Command:    python tools/train.py configs/mctformer/mctformer-cam_deit-s16_1xb32-45e_coco14-448x448.py
"""

_base_ = [
    '../_base_/models/mctformer_deit-s16.py',
    '../_base_/datasets/coco14_tags.py',
    '../_base_/datasets/deit_pipeline.py',
    '../_base_/schedules/mctformer_45e.py',
    '../_base_/default_runtime.py',
]
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth'
init_cfg = dict(type='Pretrained', checkpoint=checkpoint, repeat_positions=True)
model = dict(num_classes=80, backbone=dict(init_cfg=init_cfg))

deit_pipeline = _base_.deit_pipeline
deit_pipeline[1].scale = 448
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=deit_pipeline))
# 45 epochs of 2,565 batches
param_scheduler = [
    dict(
        type='EpochCosineLR',
        epoch_iters=2565,
        epochs=45,
        warmup_epochs=5,
        warmup_lr=1e-6,
        min_lr=1e-5,
        by_epoch=False,
        end=115425,
    )
]
train_cfg = dict(max_iters=115425, val_interval=115425)
# of `tools/make_pseudo_labels.py --images train --refine crf-labels`
label_crf = dict(preset='weaktr-coco-labels')
