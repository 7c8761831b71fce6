"""Masks of your own photos and tags by CLIP, without training: copy this file to any folder and edit its five values.

Reproduces: nothing published; the sizes of clip-cam_vit-b16_voc12-animals.py.
Expected:   not run: it depends on your photos
Time:       docs/results/clip_voc12-animals.md has the seconds per photo
Command:    python tools/make_text_embeddings.py own_photos.py
            python tools/make_pseudo_labels.py own_photos.py --refine affinity+crf --out work_dirs/own_photos/labels
"""

data_root = 'photos'  # photos/images holds the pictures, sub-folders allowed
tags = 'tags.csv'  # photos/tags.csv: a line "file,tags", then lines like "beach/001.jpg,cat;dog" (or a .json file)
classes = ('cat', 'dog')
synonyms = dict(cat=['cat', 'kitten'])  # words that describe the pictures better; dict() for none
surroundings = ['grass', 'sofa']  # what is often around them, beside the names of the base config

# Everything below follows from these values. A config that inherits this one does not change it by setting them anew.
_base_ = [
    'mmseg_wsss::_base_/models/clip_vit-b16.py',
    'mmseg_wsss::_base_/default_runtime.py',
]
words = [*classes, *(word for several in synonyms.values() for word in several)]
background = [name for name in dict.fromkeys([*_base_.background, *surroundings]) if name not in words]
model = dict(
    cam_head=dict(
        classes=classes, synonyms=synonyms, background=background, embeddings='work_dirs/own_photos/text.npz'
    ),
)
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg_wsss'),
    dict(type='Resize', scale=(512, 512), keep_ratio=True),
    dict(type='ResizeToMultiple', size_divisor=16),
    dict(type='PackWSSSInputs'),
]
# Photos with an empty list of tags get a mask of background alone.
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ImageTagDataset',
        data_root=data_root,
        classes=classes,
        image_labels=dict(type='TagFile', path=tags),
        data_prefix=dict(img_path='images'),
        untagged='background',
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_evaluator = dict(type='MaskWriter', out_dir='work_dirs/own_photos/masks', img_root=f'{data_root}/images')
val_dataloader = val_evaluator = val_cfg = None
