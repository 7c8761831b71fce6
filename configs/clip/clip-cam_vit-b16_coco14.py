"""CLIP's CAMs of MS COCO 2014, without training.

Reproduces: nothing published; the recipe of CLIP-ES (arXiv 2212.09506) with its component boxes for COCO and those of
            its names of background that are no class of COCO.
Expected:   not run
Time:       not run
Command:    CONFIG=configs/clip/clip-cam_vit-b16_coco14.py
            python tools/make_text_embeddings.py $CONFIG
            python tools/make_pseudo_labels.py $CONFIG --images train --refine affinity+crf --out work_dirs/clip_coco
"""

_base_ = [
    '../_base_/models/clip_vit-b16.py',
    '../_base_/datasets/clip_pipeline.py',
    '../_base_/datasets/coco14_tags.py',
    '../_base_/default_runtime.py',
]
background = [
    'ground', 'land', 'grass', 'tree', 'building', 'wall', 'sky', 'lake', 'water', 'river', 'sea', 'railway',
    'railroad', 'helmet', 'cloud', 'house', 'mountain', 'ocean', 'road', 'rock', 'street', 'valley', 'bridge', 'sign',
]  # fmt: skip
model = dict(
    cam_head=dict(
        classes=_base_.classes,
        background=background,
        synonyms=dict(person=['person with clothes,people,human']),
        embeddings='data/clip_text/coco14.npz',
    ),
    affinity=dict(box_threshold=0.7),
)
test_pipeline = _base_.clip_pipeline
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
