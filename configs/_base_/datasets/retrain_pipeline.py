# Training of a second stage: mmseg's augmentation for VOC, crops of 480. The mask that is learnt is a pseudo-mask; the
# truth, where the data set has it (`data_prefix.truth_path`), only serves the log.
retrain_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='LoadTruth'),
    dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomMixedCrop', crop_size=(480, 480), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackWSSSInputs'),
]
