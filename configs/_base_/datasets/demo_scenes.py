# The drawn scenes of `make demo`: 1,200 training and 200 val pictures of 96x128 px, six classes (see demo/scenes.py).
data_root = 'work_dirs/demo/data'
classes = ('cat', 'rabbit', 'bird', 'car', 'house', 'robot')
crop_size = (96, 96)
geometry = [
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=(128, 128), ratio_range=(0.8, 1.3), resize_type='ResizeToFit'),
    dict(type='RandomPadCrop', crop_size=crop_size),
]
# Milder than on photographs: hues and details of a few pixels are what tells these objects apart.
photometry = [dict(type='mmpretrain.ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3)]
global_view = [
    dict(
        type='mmpretrain.RandomResizedCrop',
        scale=96,
        crop_ratio_range=(0.4, 1.0),
        interpolation='bicubic',
        backend='pillow',
    ),
    dict(type='RandomFlip', prob=0.5),
    *photometry,
]
train_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='MultiView',
        geometry=geometry,
        img=photometry,
        free=dict(global_view=global_view),
        aligned=dict(local_view=photometry),
    ),
    dict(type='PackWSSSInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg_wsss'),
    dict(type='LoadMask'),
    dict(type='PackWSSSInputs'),
]
scenes = dict(
    type='ImageTagDataset',
    data_root=data_root,
    classes=classes,
    image_labels=dict(type='TagFile', path='tags.json'),
)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        ann_file='ImageSets/Segmentation/train.txt',
        data_prefix=dict(img_path='JPEGImages'),
        pipeline=train_pipeline,
        **scenes,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        pipeline=test_pipeline,
        test_mode=True,
        **scenes,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CAMIoUMetric')
test_evaluator = val_evaluator
