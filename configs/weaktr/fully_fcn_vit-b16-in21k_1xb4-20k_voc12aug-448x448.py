"""Fully supervised counterpart of ToCo's decoder: same network, images, photometry and schedule, ground-truth masks.

Reproduces: the fully supervised row of ToCo (CVPR 2023), Table 3, ViT-B: the bound of its ratio of 86.4 %.
Expected:   VOC val 82.3; the paper does not say at which size. Ours tests at 448x448. Not run by us.
Time:       not run.
Command:    python tools/train.py configs/weaktr/fully_fcn_vit-b16-in21k_1xb4-20k_voc12aug-448x448.py
"""

_base_ = '../toco/toco_vit-b16-in21k_1xb4-20k_voc12aug-448x448.py'
model = dict(
    _delete_=True,
    type='EncoderDecoder',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=_base_.model.backbone,
    decode_head={
        **_base_.model.decode_head,
        'in_channels': 768,
        'num_classes': 21,
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
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, data_prefix=dict(seg_map_path='SegmentationClassAug')))
