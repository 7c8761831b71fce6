"""CLIP's CAMs of six classes of PASCAL VOC 2012, without training.

Reproduces: nothing published; CLIP-ES (arXiv 2212.09506) with other names of background and another synonym, chosen on
            every ninth image of animals_train.
Expected:   docs/results/clip_voc12-animals.md
Time:       docs/results/clip_voc12-animals.md
Command:    CONFIG=configs/clip/clip-cam_vit-b16_voc12-animals.py
            python tools/make_text_embeddings.py $CONFIG
            python tools/make_pseudo_labels.py $CONFIG --images train --refine affinity+crf --out work_dirs/clip_animals
"""

_base_ = [
    '../_base_/models/clip_vit-b16.py',
    '../_base_/datasets/clip_pipeline.py',
    '../_base_/datasets/voc12_animals_tags.py',
    '../_base_/default_runtime.py',
]
model = dict(
    cam_head=dict(
        classes=_base_.classes,
        synonyms=dict(person=['person', 'apparel']),
        embeddings='data/clip_text/voc12-animals.npz',
    )
)
test_pipeline = _base_.clip_pipeline
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
