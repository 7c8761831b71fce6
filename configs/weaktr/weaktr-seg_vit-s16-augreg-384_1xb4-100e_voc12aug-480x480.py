"""WeakTr's second stage with ViT-S/16 AugReg (ImageNet-21k, then 1k at 384 pixels), PASCAL VOC 2012 train_aug.

Reproduces: WeakTr (arXiv 2304.01184), Table 2, ViT-S. Normalised with mean and std 0.5, as these weights were trained.
Expected:   VOC val 78.4, test 79.0 (multi-scale + CRF). Not run by us.
Time:       not run.
Command:    CONFIG=configs/weaktr/weaktr-seg_vit-s16-augreg-384_1xb4-100e_voc12aug-480x480.py
            python tools/train.py $CONFIG --cfg-options train_dataloader.dataset.mask_dir=FOLDER/SegmentationClass
            python tools/test.py $CONFIG work_dirs/.../iter_264600.pth --tta --crf
"""

_base_ = './weaktr-seg_deit-s16_1xb4-100e_voc12aug-480x480.py'
checkpoint = 'https://huggingface.co/timm/vit_small_patch16_384.augreg_in21k_ft_in1k/resolve/main/pytorch_model.bin'
model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    # timm, which loads this file in the published code, resizes the position embedding so
    backbone=dict(interpolate_mode='bicubic', init_cfg=dict(checkpoint=checkpoint)),
)
