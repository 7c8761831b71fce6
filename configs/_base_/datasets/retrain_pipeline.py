# Training of a second stage: mmseg's augmentation for VOC, images with a shorter side of 520 times 0.5-2, crops of 480.
# The network learns from a pseudo-mask; the ground truth, if the data set has it (`data_prefix.ground_truth_path`), is
# only used for the log.
retrain_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='LoadGroundTruth'),
    dict(type='RandomResize', scale=(4160, 520), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomMixedCrop', crop_size=(480, 480), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackWSSSInputs'),
]
# Test at a single scale: a shorter side of 520 pixels, unless the longer one would exceed 4160. Results and masks have
# the native size.
retrain_test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg_wsss'),
    dict(type='ResizeToFill', scale=(4160, 520), window=480),
    dict(type='LoadMask'),
    dict(type='PackWSSSInputs'),
]
