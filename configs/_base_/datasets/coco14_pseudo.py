# MS COCO 2014: pseudo-masks of train (82,081 images) for training, ground-truth masks of val (40,137) for evaluation.
_base_ = ['./coco14_tags.py', './retrain_pipeline.py']
mask_dir = 'work_dirs/weaktr_coco/pseudo/SegmentationClass'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='PseudoMaskDataset',
        data_root={{_base_.data_root}},
        classes={{_base_.classes}},
        mask_dir=mask_dir,
        ann_file='train2014.txt',
        data_prefix=dict(img_path='train2014', ground_truth_path=None),
        pipeline={{_base_.retrain_pipeline}},
    ),
)
test_pipeline = {{_base_.retrain_test_pipeline}}
val_dataloader = dict(dataset=dict(pipeline={{_base_.retrain_test_pipeline}}))
test_dataloader = val_dataloader
