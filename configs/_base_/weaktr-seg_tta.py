# Inference of WeakTr's second stage: shorter sides of 520 pixels times 0.5-1.75, those below a window of 480 enlarged
# to it, with flips, mean of the softmax; `tools/test.py --tta`. The CRF of `tools/test.py --crf` works with and without
# it.
tta_model = dict(type='MeanSoftmaxTTA')
tta_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='ResizeToFill', scale=(8 * side, side), window=480) for side in (260, 390, 520, 650, 780, 910)],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            # The ground truth is loaded after the flip: predictions are turned back and resized first.
            [dict(type='LoadMask')],
            [dict(type='PackWSSSInputs')],
        ],
    ),
]
crf = dict(type='DenseCRF', preset='weaktr-voc')
