"""MCTformer small enough for tests: 32-pixel images, patches of 8, three classes."""

import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_weaktr import weaktr_config

from mmseg_wsss.models import MCTformer


def build_mctformer(head: dict | None = None, backbone: dict | None = None, **changes) -> MCTformer:
    """A tiny model with initialised weights, in training mode; arguments change its config."""
    init_default_scope('mmseg')
    config = weaktr_config() | dict(
        type='MCTformer', cam_head=dict(type='MCTCAMHead') | (head or {}), loss_cct=dict(type='TokenIdentityLoss')
    )
    config = config | changes
    del config['cam_scales']  # the published ones
    config['backbone'] |= backbone or {}
    model = MODELS.build(ConfigDict(config))
    model.backbone.init_weights()
    with torch.no_grad():  # random tokens that differ, as trained ones do
        model.backbone.cls_token.normal_()
    return model.train()
