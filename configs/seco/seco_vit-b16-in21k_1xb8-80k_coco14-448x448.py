"""SeCo, ViT-B/16 ImageNet-21k, MS COCO 2014, crops of 448.

Reproduces: SeCo (CVPR 2024), MS COCO 2014.
Expected:   COCO val 46.7 (multi-scale + CRF, `tools/test.py --tta --crf`). On a part of val squashed to 448x448, the
            published log says CAM 46.3, aux CAM 43.2, segmentation 45.5. Not run by us.
Time:       published 58 h 53 min on two RTX 3090; ours not run.
Command:    python tools/train.py configs/seco/seco_vit-b16-in21k_1xb8-80k_coco14-448x448.py
"""

_base_ = [
    '../_base_/models/seco_vit-b16.py',
    '../_base_/datasets/coco14_tags.py',
    '../_base_/schedules/toco_20k.py',
    '../_base_/default_runtime.py',
    '../_base_/tta.py',
]
# Google's first ViT (ImageNet-21k, then 1k). Published: ImageNet statistics, though these weights were trained with
# mean and std 0.5.
checkpoint = (
    'https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-vitjx/jx_vit_base_p16_224-80ecf9dd.pth'
)
# The numbers were made with the published tags, keys and LIL; see the config of VOC.
model = dict(
    num_classes=80,
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    as_published=True,
    loss_ptc=dict(loss_weight=0.2),
    loss_lil=dict(as_published=True, loss_weight=0.3),
    memory=dict(momentum=0.99),
    cam_scales=(1.0, 0.5, 0.75, 1.25, 1.5),
    cam_thresholds=(0.25, 0.65),
    background_threshold=0.45,
    # `memory` fills the queue of 4608 with the 48 steps of 8 images before it is used
    starts=dict(
        loss_ptc=8001,
        prototypes=6000,
        memory=11953,
        loss_lil=12001,
        loss_lig=12001,
        loss_seg=16001,
        loss_reg=16001,
        final_regions=50000,
    ),
)
train_pipeline = _base_.train_pipeline
train_pipeline[1].img = []  # no photometry
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
# As published: validation on images squashed to 448x448; several scales are those of the image's own size.
test_pipeline = _base_.squashed_test_pipeline
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
max_iters = 80000
param_scheduler = [
    dict(type='WarmupPolyLR', power=0.9, warmup_iters=1500, warmup_factor=1e-6, by_epoch=False, end=max_iters)
]
train_cfg = dict(max_iters=max_iters, val_interval=4000)
