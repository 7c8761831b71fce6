"""The small network that SeCo's recordings were made with, with its drawn weights."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from published import published_weights
from torch import Tensor

from mmseg_wsss.checkpoints import SECO
from mmseg_wsss.models import SeCo

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / 'configs/_base_/models/seco_vit-b16.py'


def drawn_seco() -> dict[str, Tensor]:
    """Weights and memory under published names; the page of the recordings says how they are drawn."""
    weights = published_weights('seco_small')
    for name, seed in (('queue', 1800), ('prototypes', 1801)):
        rows = np.random.RandomState(seed).randn(*weights[name].shape).astype(np.float32)
        weights[name] = F.normalize(torch.from_numpy(rows), dim=1)
    weights['queue_label_flag'] = torch.from_numpy(np.random.RandomState(1802).randint(-1, 7, (72, 1)))
    weights['queue_ptr'] = torch.tensor([48])
    return weights


def small_seco(**changes) -> SeCo:
    """The published form of the shipped config, with these weights."""
    init_default_scope('mmseg')
    config = Config.fromfile(CONFIG).model
    config.backbone.update(
        arch=dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=192), img_size=64, out_indices=(1, 3)
    )
    config.projector.hidden_channels = 64
    config.memory.length = 72
    config.update(num_classes=6, num_local_crops=4, local_crop_size=32, as_published=True)
    config.loss_lil.as_published = True
    for name, value in changes.items():
        config[name] = value  # `update` would merge
    model = MODELS.build(config)
    model.load_state_dict(SECO.to_ours(drawn_seco()))
    return model
