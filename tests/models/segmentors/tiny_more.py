"""A MoRe small enough for tests: 64-pixel images, patches of 8, three classes."""

from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_toco import tiny_config

from mmseg_wsss.models import MoRe

SIZE = 64


def more_config(**changes) -> dict:
    """The config of the tiny model; keyword arguments replace its top-level values."""
    toco = tiny_config()
    kept = ('data_preprocessor', 'cam_head', 'aux_cam_head', 'refiner', 'decode_head', 'loss_ptc', 'test_cfg')
    config = {name: toco[name] for name in kept} | dict(
        type='MoRe',
        num_classes=3,
        backbone=toco['backbone'] | dict(img_size=SIZE, num_registers=2),
        graph=dict(type='ClassGraph'),
        loss_token=dict(type='TokenIdentityLoss', temperature=0.07),
        loss_certain=dict(type='CertainTokenLoss'),
        loss_uncertain=dict(type='UncertainTokenLoss'),
        loss_reg=dict(type='DenseEnergyLoss', weight=1e-3),
        cam_scales=(1.0, 0.5),
    )
    config['data_preprocessor'] = config['data_preprocessor'] | dict(size=(SIZE, SIZE))
    return config | changes


def build_more(**changes) -> MoRe:
    """A tiny model with initialised weights, in training mode."""
    init_default_scope('mmseg')
    model = MODELS.build(ConfigDict(more_config(**changes)))
    model.backbone.init_weights()
    return model.train()
