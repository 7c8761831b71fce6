"""Fully supervised counterpart of ToCo's decoder on six VOC classes: the same but for ground-truth masks.

Reproduces: nothing published; the upper bound beside toco_deit-t16_1xb8-2.4k_voc12-animals-256x256.py.
Expected:   not run yet.
Time:       not run.
Command:    python tools/train.py configs/weaktr/fully_fcn_deit-t16_1xb8-2.4k_voc12-animals-256x256.py
"""

_base_ = '../toco/toco_deit-t16_1xb8-2.4k_voc12-animals-256x256.py'
model = dict(
    _delete_=True,
    type='EncoderDecoder',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=_base_.model.backbone,
    decode_head={
        **_base_.model.decode_head,
        'in_channels': 192,
        'num_classes': 7,
        'loss_decode': dict(type='CrossEntropyLoss'),
    },
    test_cfg=dict(mode='whole'),
)
views = _base_.train_dataloader.dataset.pipeline[1]
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    *views.geometry,
    *views.img,
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(
    dataset=dict(pipeline=train_pipeline, data_prefix=dict(seg_map_path='SegmentationClassAnimals'))
)
