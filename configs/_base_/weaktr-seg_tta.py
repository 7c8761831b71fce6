# Inference of WeakTr's second stage: six scales of the native size with flips, mean of the softmax;
# `tools/test.py --tta`. The CRF of `tools/test.py --crf` works with and without it.
tta_model = dict(type='MeanSoftmaxTTA')
tta_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=scale, keep_ratio=True) for scale in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            # The truth is loaded after the flip: predictions are turned back and resized before they are compared.
            [dict(type='LoadMask')],
            [dict(type='PackWSSSInputs')],
        ],
    ),
]
crf = dict(type='DenseCRF', preset='weaktr-voc')
