"""CLIP's CAMs of PASCAL VOC 2012, without training.

Reproduces: nothing published; CLIP-ES (arXiv 2212.09506) with its names of background and of classes, of which some
            have synonyms in one text.
Expected:   not run
Time:       not run
Command:    CONFIG=configs/clip/clip-cam_vit-b16_voc12aug.py
            python tools/make_text_embeddings.py $CONFIG
            python tools/make_pseudo_labels.py $CONFIG --images train --refine affinity+crf --out work_dirs/clip_voc
"""

_base_ = [
    '../_base_/models/clip_vit-b16.py',
    '../_base_/datasets/clip_pipeline.py',
    '../_base_/datasets/voc12_aug_tags.py',
    '../_base_/default_runtime.py',
]
background = [
    'ground', 'land', 'grass', 'tree', 'building', 'wall', 'sky', 'lake', 'water', 'river', 'sea', 'railway',
    'railroad', 'keyboard', 'helmet', 'cloud', 'house', 'mountain', 'ocean', 'road', 'rock', 'street', 'valley',
    'bridge', 'sign',
]  # fmt: skip
model = dict(
    cam_head=dict(
        classes=_base_.classes,
        background=background,
        synonyms=dict(
            bird=['bird avian'],
            chair=['chair seat'],
            person=['person with clothes,people,human'],
            tvmonitor=['tvmonitor screen'],
        ),
        embeddings='data/clip_text/voc12aug.npz',
    )
)
test_pipeline = _base_.clip_pipeline
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
