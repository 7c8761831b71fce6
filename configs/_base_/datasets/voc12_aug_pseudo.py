# PASCAL VOC 2012: pseudo-masks of train_aug (10,582 images) for training, true masks of val (1,449) for evaluation.
# mmseg's augmentation for VOC, crops of 480. With the true masks of train_aug, which are not learnt, the log shows the
# precision of the pseudo-masks (WeakTr Figure 5):
#   train_dataloader.dataset.data_prefix.truth_path=SegmentationClassAug
_base_ = './voc12_aug_tags.py'
crop_size = (480, 480)
mask_dir = 'work_dirs/weaktr/pseudo/SegmentationClass'
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='LoadTruth'),
    dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='PseudoMaskDataset',
        data_root='data/VOCdevkit/VOC2012',
        classes={{_base_.classes}},
        mask_dir=mask_dir,
        ann_file='ImageSets/Segmentation/train_aug.txt',
        data_prefix=dict(img_path='JPEGImages', truth_path=None),
        pipeline=train_pipeline,
    ),
)
