"""Turn a ViT checkpoint into plain TokenViT weights and print the backbone config that it fits.

    python tools/model_converters/vit.py deit_tiny_patch16_224.pth tokenvit_deit_tiny.pth

timm, DeiT, AugReg, DINO, DINOv2, MAE, CLIP (``visual.*``) and mmpretrain files are read, ``.pth`` or ``.safetensors``
(only tensors: never anything pickled). The conversion is optional: TokenViT loads the same files by
``init_cfg=dict(type='Pretrained', checkpoint=...)``.
"""

import argparse
import re
import sys


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='checkpoint, path or URL')
    parser.add_argument('target', help='.pth or .safetensors to write')
    parser.add_argument('--num-heads', type=int, help='attention heads (default: width / 64)')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from torch import Tensor

from mmseg_wsss.checkpoints import write_weights
from mmseg_wsss.fileio import unwritable
from mmseg_wsss.models import TokenViT
from mmseg_wsss.models.backbones import read_vit_state_dict

HEAD_CHANNELS = 64  # of every published ViT; a checkpoint does not say it


def backbone_config(state: dict[str, Tensor], num_heads: int | None = None) -> dict:
    """The arguments of the TokenViT that these weights fit, derived from their shapes.

    Args:
        state: weights under TokenViT's names.
        num_heads: attention heads; by default the width divided by 64.

    Raises:
        ValueError: the weights are not those of a plain ViT.
    """
    needed = ('patch_embed.projection.weight', 'pos_embed', 'layers.0.ffn.layers.0.0.weight')
    absent = [key for key in needed if key not in state]
    if absent:
        raise ValueError(f'not the weights of a plain ViT: {", ".join(absent)} missing')
    width, _, _, patch = state['patch_embed.projection.weight'].shape
    depth = 1 + max(int(key.split('.')[1]) for key in state if re.match(r'layers\.\d+\.', key))
    side = round((state['pos_embed'].shape[1] - 1) ** 0.5)
    arch = dict(
        embed_dims=width,
        num_layers=depth,
        num_heads=num_heads or width // HEAD_CHANNELS,
        feedforward_channels=len(state['layers.0.ffn.layers.0.0.weight']),
    )
    config = dict(type='TokenViT', arch=arch, patch_size=patch, img_size=side * patch)
    if 'layers.0.attn.gamma1.weight' in state:
        config['layer_scale_init_value'] = 1e-5
    if 'pre_norm.weight' in state:  # CLIP
        config.update(pre_norm=True, norm_cfg=dict(type='LN', eps=1e-5))
    return config


def convert(source: str, target: str, num_heads: int | None = None) -> dict:
    """Write the converted weights and return their backbone config; nothing is written when they do not fit it."""
    config = backbone_config(read_vit_state_dict(source), num_heads)
    arguments = {key: value for key, value in config.items() if key != 'type'}
    model = TokenViT(**arguments, init_cfg=dict(type='Pretrained', checkpoint=source))
    model.init_weights()
    write_weights(model.state_dict(), target)
    return config


def main(argv: list[str] | None = None) -> None:
    """Convert, print the config."""
    args = parse_args(argv)
    if problem := unwritable(args.target, file=True):
        sys.exit(f'error: OUT {problem}')
    try:
        config = convert(args.source, args.target, args.num_heads)
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    config['init_cfg'] = dict(type='Pretrained', checkpoint=args.target)
    print('backbone =', config)


if __name__ == '__main__':
    main()
