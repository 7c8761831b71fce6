# CLIP ViT-B/16 as a source of CAMs, after CLIP-ES (arXiv 2212.09506), with its attention affinity. Nothing is trained.
# The classes come from the config of the data set; `tools/make_text_embeddings.py` makes the file of embeddings.
#
# What competes with the classes: the names of ADE20K that are no class of PASCAL VOC, nor a part or a synonym of one.
_base_ = '../dinov2_affinity.py'
background = [
    'wall', 'building', 'sky', 'floor', 'tree', 'ceiling', 'road', 'bed', 'windowpane', 'grass', 'cabinet',
    'sidewalk', 'earth', 'door', 'mountain', 'curtain', 'water', 'painting', 'shelf', 'house', 'sea', 'mirror',
    'rug', 'field', 'fence', 'rock', 'wardrobe', 'lamp', 'bathtub', 'railing', 'cushion', 'base', 'box', 'column',
    'signboard', 'chest of drawers', 'counter', 'sand', 'sink', 'skyscraper', 'fireplace', 'refrigerator',
    'grandstand', 'path', 'stairs', 'runway', 'case', 'pool table', 'pillow', 'screen door', 'stairway', 'river',
    'bridge', 'bookcase', 'blind', 'toilet', 'book', 'hill', 'bench', 'countertop', 'stove', 'kitchen island',
    'computer', 'bar', 'arcade machine', 'hovel', 'towel', 'light', 'tower', 'chandelier', 'awning', 'streetlight',
    'booth', 'dirt track', 'pole', 'land', 'bannister', 'escalator', 'buffet', 'poster', 'stage', 'fountain',
    'conveyer belt', 'canopy', 'washer', 'swimming pool', 'stool', 'barrel', 'basket', 'waterfall', 'tent', 'bag',
    'cradle', 'oven', 'ball', 'food', 'step', 'tank', 'microwave', 'lake', 'dishwasher', 'blanket', 'sculpture',
    'hood', 'sconce', 'vase', 'traffic light', 'tray', 'ashcan', 'fan', 'pier', 'plate', 'bulletin board', 'shower',
    'radiator', 'glass', 'clock', 'flag',
]  # fmt: skip
clip = 'https://huggingface.co/openai/clip-vit-base-patch16/resolve/main/pytorch_model.bin'
model = dict(
    type='CLIPCAM',
    data_preprocessor=dict(
        type='WSSSDataPreProcessor',
        mean=[122.7709, 116.7460, 104.0937],
        std=[68.5005, 66.6322, 70.3232],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='TokenViT',
        arch='base',
        img_size=224,
        pre_norm=True,
        norm_cfg=dict(type='LN', eps=1e-5),
        layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU')),
        init_cfg=dict(type='Pretrained', checkpoint=clip),
    ),
    cam_head=dict(type='TextCAMHead', background=background),
    affinity=dict(type='FeatureAffinity', source='attention', num_blocks=8, rounds=3, power=2, box_threshold=0.4),
    cam_scales=(1.0,),
    background_threshold=0.5,
    test_cfg=dict(cam=True),
)
test_cfg = dict(type='TestLoop')
val_cfg = None
