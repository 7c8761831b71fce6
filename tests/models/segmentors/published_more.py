"""The small network that MoRe's recordings were made with, with its drawn weights."""

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from published import published_weights

from mmseg_wsss.checkpoints import MORE
from mmseg_wsss.models import MoRe

CONFIG = Path(__file__).parents[3] / 'configs/_base_/models/more_vit-b16.py'


def small_more(**changes) -> MoRe:
    """The shipped config, six classes and small, with these weights."""
    init_default_scope('mmseg')
    config = Config.fromfile(CONFIG).model
    config.backbone.update(
        arch=dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=192), img_size=64, out_indices=(1, 3)
    )
    config.num_classes = 6
    for name, value in changes.items():
        config[name] = value  # `update` would merge
    model = MODELS.build(config)
    model.load_state_dict(MORE.to_ours(published_weights('more_small')))
    return model
