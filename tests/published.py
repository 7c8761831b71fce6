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


def encoder_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The transformer alone, in timm's names and without its unused classifier."""
    prefix = 'encoder.'
    return {
        key[len(prefix) :]: value
        for key, value in weights.items()
        if key.startswith(prefix) and not key.startswith(f'{prefix}head')
    }
