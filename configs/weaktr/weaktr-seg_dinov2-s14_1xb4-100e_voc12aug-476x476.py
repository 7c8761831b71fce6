"""WeakTr's second stage with DINOv2 ViT-S/14, PASCAL VOC 2012 train_aug.

Reproduces: the DINOv2-S row of WeakTr's repository, but with the patches of 14 that the weights were trained with and
            crops of 476 = 34 of them. The published code resizes the patch kernel to 16 (bicubic) and has crops of 480.
            A part of DINOv2's training images was retrieved with VOC's as queries.
Expected:   VOC val 75.8 (multi-scale + CRF). Not run by us.
Time:       not run.
Command:    CONFIG=configs/weaktr/weaktr-seg_dinov2-s14_1xb4-100e_voc12aug-476x476.py
            python tools/train.py $CONFIG --cfg-options train_dataloader.dataset.mask_dir=FOLDER/SegmentationClass
            python tools/test.py $CONFIG work_dirs/.../iter_264600.pth --tta --crf
"""

_base_ = './weaktr-seg_deit-s16_1xb4-100e_voc12aug-480x480.py'
crop_size = (476, 476)
checkpoint = 'https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth'
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        img_size=crop_size[0],
        patch_size=14,
        layer_scale_init_value=1e-5,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
    ),
    decode_head=dict(loss_decode=dict(patch_size=119)),
    test_cfg=dict(crop_size=crop_size),
)
retrain_pipeline = _base_.retrain_pipeline
retrain_pipeline[4].crop_size = crop_size
train_dataloader = dict(dataset=dict(pipeline=retrain_pipeline))
