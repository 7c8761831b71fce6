# PASCAL VOC 2012: tags of train_aug (10,582 images) for training, masks of val (1,449) for evaluation.
# The tags come from one JSON file that `tools/dataset_converters/image_labels.py` writes from the detection XML.
_base_ = './wsss_pipelines.py'
data_root = 'data/VOCdevkit/VOC2012'
classes = (
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable', 'dog',
    'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor',
)  # fmt: skip
image_labels = dict(type='TagFile', path='image_labels.json')
train_dataloader = dict(
    batch_size=4,
    num_workers=8,
    pin_memory=True,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ImageTagDataset',
        data_root=data_root,
        classes=classes,
        image_labels=image_labels,
        ann_file='ImageSets/Segmentation/train_aug.txt',
        data_prefix=dict(img_path='JPEGImages'),
        pipeline={{_base_.train_pipeline}},
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ImageTagDataset',
        data_root=data_root,
        classes=classes,
        image_labels=image_labels,
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'),
        pipeline={{_base_.test_pipeline}},
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CAMIoUMetric')
test_evaluator = val_evaluator
