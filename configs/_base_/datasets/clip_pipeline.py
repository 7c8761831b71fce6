# Images at their own size, its sides rounded up to whole patches.
clip_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg_wsss'),
    dict(type='ResizeToMultiple', size_divisor=16),
    dict(type='LoadMask'),
    dict(type='PackWSSSInputs'),
]
