# PASCAL VOC 2012: pseudo-masks of train_aug (10,582 images) for training, ground truth of val (1,449) for evaluation.
# With the ground truth of train_aug, which is never trained on, the log shows the precision of the pseudo-masks (WeakTr
# Figure 5): train_dataloader.dataset.data_prefix.ground_truth_path=SegmentationClassAug
_base_ = ['./voc12_aug_tags.py', './retrain_pipeline.py']
mask_dir = 'work_dirs/weaktr/pseudo/SegmentationClass'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='PseudoMaskDataset',
        data_root={{_base_.data_root}},
        classes={{_base_.classes}},
        mask_dir=mask_dir,
        ann_file='ImageSets/Segmentation/train_aug.txt',
        data_prefix=dict(img_path='JPEGImages', ground_truth_path=None),
        pipeline={{_base_.retrain_pipeline}},
    ),
)
test_pipeline = {{_base_.retrain_test_pipeline}}
val_dataloader = dict(dataset=dict(pipeline={{_base_.retrain_test_pipeline}}))
test_dataloader = val_dataloader
