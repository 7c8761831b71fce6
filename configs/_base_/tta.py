# Inference of ToCo (CVPR 2023): scales 1, 1.25 and 1.5 of the native size with flips, summed over the flip pair,
# maximum over the scales; `tools/test.py --tta`. The CRF of `tools/test.py --crf` works with and without it.
tta_model = dict(type='MaxScaleTTA')
tta_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[
            # not `Resize`, which rounds to the nearest side: published sides are rounded down
            [dict(type='RandomScale', ratio_range=(scale, scale)) for scale in (1.0, 1.25, 1.5)],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            # The ground truth is loaded after the flip: predictions are turned back and resized first.
            [dict(type='LoadMask')],
            [dict(type='PackWSSSInputs')],
        ],
    ),
]
crf = dict(type='DenseCRF', preset='toco')
