# For `--refine affinity` of the label tool: the features of DINOv2-S, of images with a longer side of 518 pixels.
affinity = dict(
    backbone=dict(
        type='TokenViT',
        arch='deit-small',
        img_size=518,
        patch_size=14,
        layer_scale_init_value=1e-5,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth',
        ),
    ),
    source='features',
    temperature=0.15,
    power=2,
    box_threshold=None,
    longer_side=518,
)
