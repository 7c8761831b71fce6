"""The option ``--refine`` of the tools."""

from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from ..models.refiners import FeatureAffinity

# name -> the key of the config with the arguments of the refiner of the labels, and its type
REFINERS = {
    'par': ('par', 'PAR'),
    'crf-labels': ('label_crf', 'LabelCRF'),
    'crf-scores': ('crf', 'DenseCRF'),
    'affinity': None,
    'affinity+crf': ('label_crf', 'LabelCRF'),
}


def refiner_of(cfg: Config, refine: str) -> dict | None:
    """Config of the refiner of the labels: the defaults of its class, and what the config says."""
    found = REFINERS.get(refine)
    return None if found is None else {'type': found[1], **cfg.get(found[0], {})}


def affinity_of(cfg: Config, refine: str, network: nn.Module) -> FeatureAffinity | None:
    """The refiner of the network's own maps, if ``refine`` asks for it, by the config's ``affinity``.

    Without a ``backbone`` there, the affinity is that of the network's backbone.

    Raises:
        ValueError: that backbone returns no tokens.
    """
    if not refine.startswith('affinity'):
        return None
    values = {'type': 'FeatureAffinity', **cfg.get('affinity', {})}
    if values.get('backbone') is None:
        own = getattr(network, 'backbone', None)
        if not hasattr(own, 'tokens'):
            raise ValueError(
                f'--refine {refine}: model.backbone ({type(own).__name__}) is no TokenViT, so the config needs '
                "affinity=dict(backbone=dict(type='TokenViT', ...))"
            )
        norm = network.data_preprocessor
        norms = {name: getattr(norm, name).flatten().tolist() for name in ('mean', 'std')}
        values = norms | values | {'backbone': network.backbone}
        return MODELS.build(values)
    affinity = MODELS.build(values)
    affinity.init_weights()
    return affinity
