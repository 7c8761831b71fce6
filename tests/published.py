"""The weights that the recordings were made with: drawn from a seed, not stored."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parent / 'data' / 'golden'


def published_weights(name: str) -> dict[str, Tensor]:
    """State dict of a published network under its published names (``{name}_keys.json`` gives names and shapes)."""
    shapes = json.loads((GOLDEN / f'{name}_keys.json').read_text())
    weights = {}
    for index, key in enumerate(sorted(shapes)):
        scale = 1 if 'ffn' in key else 0.02
        value = np.random.RandomState(1000 + index).randn(*shapes[key]) * scale
        if key.endswith(('norm.weight', 'norm1.weight', 'norm2.weight')):
            value += 1
        weights[key] = torch.from_numpy(np.asarray(value, dtype=np.float32))
    return weights


def drawn_image(seed: int, batch: int, height: int, width: int) -> Tensor:
    """Normalised images (B, 3, H, W) of 16-pixel blocks with noise, as the recordings that name a seed have them."""
    random = np.random.RandomState(seed)
    blocks = random.randint(0, 200, (batch, -(-height // 16), -(-width // 16), 3))
    blocks = blocks.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]
    grey = blocks + random.randint(0, 40, (batch, height, width, 3)) + 0.5
    images = (grey - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    return torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32))


# names of published files: width, side of a patch, side of the grid, whether blocks scale what they add
VIT_FILES = {
    'deit_tiny_patch16_224.pth': (192, 16, 14, False),
    'vit_tiny_patch16_224_augreg_in21k_ft_in1k.pth': (192, 16, 14, False),
    'dinov2_vits14.pth': (384, 14, 37, True),
}


def drawn_vit(name: str) -> dict[str, Tensor]:
    """Half-precision weights under the names and with the shapes of a published file of ``VIT_FILES``."""
    width, patch, grid, scales = VIT_FILES[name]
    shapes = {
        'cls_token': (1, 1, width),
        'pos_embed': (1, 1 + grid**2, width),
        'patch_embed.proj.weight': (width, 3, patch, patch),
        'patch_embed.proj.bias': (width,),
    }
    layers = {'attn.qkv': (3 * width, width), 'attn.proj': (width, width)}
    layers |= {'mlp.fc1': (4 * width, width), 'mlp.fc2': (width, 4 * width)}
    for block in range(12):
        for layer, shape in layers.items():
            shapes |= {f'blocks.{block}.{layer}.weight': shape, f'blocks.{block}.{layer}.bias': shape[:1]}
        for norm in ('norm1', 'norm2'):
            shapes |= {f'blocks.{block}.{norm}.{kind}': (width,) for kind in ('weight', 'bias')}
        if scales:
            shapes |= {f'blocks.{block}.{scale}.gamma': (width,) for scale in ('ls1', 'ls2')}
    shapes |= {'norm.weight': (width,), 'norm.bias': (width,)}
    if not scales:  # DINOv2's file has no classifier
        shapes |= {'head.weight': (1000, width), 'head.bias': (1000,)}
    generator = torch.Generator().manual_seed(width)
    return {key: torch.randn(shape, generator=generator).half() for key, shape in shapes.items()}


def encoder_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The transformer alone, in timm's names and without its unused classifier."""
    prefix = 'encoder.'
    return {
        key[len(prefix) :]: value
        for key, value in weights.items()
        if key.startswith(prefix) and not key.startswith(f'{prefix}head')
    }
