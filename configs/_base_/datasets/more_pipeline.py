# Training images of MoRe (AAAI 2025): a part of the image, 32 to 100 % of its area, as a square without padding; a
# flip; in half of them other colours. For another crop size: `more_pipeline[1].scale`.
more_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='mmpretrain.RandomResizedCrop',
        scale=448,
        crop_ratio_range=(0.32, 1.0),
        interpolation='bicubic',
        backend='pillow',
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='DINOPhotometry', jitter_prob=0.5, gray_prob=0.0, blur_prob=0.0),
    dict(type='PackWSSSInputs'),
]
