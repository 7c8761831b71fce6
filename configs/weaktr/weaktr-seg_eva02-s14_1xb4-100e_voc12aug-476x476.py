"""WeakTr's second stage with EVA-02-S/14 (mmpretrain's ViTEVA02), PASCAL VOC 2012 train_aug.

Reproduces: the EVA-02-S row of WeakTr's repository, but with the patches of 14 that the weights were trained with and
            crops of 476 = 34 of them, from weights fine-tuned on ImageNet-1k. The published code resizes the patch
            kernel to 16 (bicubic), has crops of 480 and starts from the weights before that fine-tuning
            (eva02_S_pt_in21k_p14).
Expected:   VOC val 78.5, test 79.4 (multi-scale + CRF). Not run by us.
Time:       not run.
Command:    CONFIG=configs/weaktr/weaktr-seg_eva02-s14_1xb4-100e_voc12aug-476x476.py
            python tools/train.py $CONFIG --cfg-options train_dataloader.dataset.mask_dir=FOLDER/SegmentationClass
            python tools/test.py $CONFIG work_dirs/.../iter_264600.pth --tta --crf
"""

_base_ = './weaktr-seg_dinov2-s14_1xb4-100e_voc12aug-476x476.py'
# The weights fine-tuned on ImageNet-1k at 336 pixels: a grid of 24x24, resized to the 34x34 of the crop. They were
# trained without a final norm on the tokens, so that this one starts fresh.
checkpoint = (
    'https://download.openmmlab.com/mmpretrain/v1.0/eva02/'
    'eva02-small-p14_in21k-pre_3rdparty_in1k-336px_20230505-9c5b0e85.pth'
)
model = dict(
    data_preprocessor=dict(mean=[122.771, 116.746, 104.094], std=[68.501, 66.632, 70.323]),
    backbone=dict(
        _delete_=True,
        type='mmpretrain.ViTEVA02',
        arch='s',
        img_size=336,
        patch_size=14,
        final_norm=True,
        drop_path_rate=0.1,
        out_type='featmap',
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.'),
    ),
)
