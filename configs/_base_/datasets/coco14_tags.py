# MS COCO 2014: tags of train (82,081 images) from its instance annotations, masks of val (40,137) for evaluation.
# The lists hold the images that have annotations; mask ids are 1..80 in the order of the categories, 0 background.
_base_ = './voc12_aug_tags.py'
data_root = 'data/coco'
# fmt: off
classes = (
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat', 'traffic light',
    'fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird', 'cat', 'dog', 'horse', 'sheep', 'cow', 'elephant',
    'bear', 'zebra', 'giraffe', 'backpack', 'umbrella', 'handbag', 'tie', 'suitcase', 'frisbee', 'skis', 'snowboard',
    'sports ball', 'kite', 'baseball bat', 'baseball glove', 'skateboard', 'surfboard', 'tennis racket', 'bottle',
    'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple', 'sandwich', 'orange', 'broccoli',
    'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch', 'potted plant', 'bed', 'dining table', 'toilet',
    'tv', 'laptop', 'mouse', 'remote', 'keyboard', 'cell phone', 'microwave', 'oven', 'toaster', 'sink',
    'refrigerator', 'book', 'clock', 'vase', 'scissors', 'teddy bear', 'hair drier', 'toothbrush',
)
# fmt: on
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        classes=classes,
        ann_file='train2014.txt',
        data_prefix=dict(img_path='train2014'),
        image_labels=dict(_delete_=True, type='COCOAnnotations', path='annotations/instances_train2014.json'),
    )
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        classes=classes,
        ann_file='val2014.txt',
        data_prefix=dict(img_path='val2014', seg_map_path='masks/val2014'),
        image_labels=dict(_delete_=True, type='COCOAnnotations', path='annotations/instances_val2014.json'),
    )
)
test_dataloader = val_dataloader
