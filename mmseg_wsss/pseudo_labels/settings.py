"""What decides the masks of a folder, for its manifest."""

from argparse import Namespace
from typing import Any

from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from ..engine import weights_sha256
from .images import ImageList
from .refine_option import refiner_of


def settings_of(
    args: Namespace,
    cfg: Config,
    *,
    weights: str,
    affinity: nn.Module | None,
    images: ImageList,
    sweep: ImageList | None,
) -> dict[str, Any]:
    """Everything that changes the masks.

    Args:
        args: the command line of the label tool.
        cfg: config with its values in it.
        weights: SHA-256 of the network's.
        affinity: of :func:`~mmseg_wsss.pseudo_labels.affinity_of`.
        images: to be labelled.
        sweep: images with masks, where the threshold is swept.
    """
    refiner = refiner_of(cfg, args.refine)
    more = {} if affinity is None else {'affinity': _affinity(affinity, cfg)}
    return more | {
        'checkpoint': weights,
        'images': images.fingerprint(tags=args.mask_by_labels),
        'threshold': args.threshold if sweep is None else {'sweep': sweep.fingerprint(tags=args.mask_by_labels)},
        'source': args.source,
        'refine': None if refiner is None else repr(MODELS.build(refiner)),  # with the defaults of its class
        'mask_by_labels': args.mask_by_labels,
        'tta': args.tta,
        'soft': args.soft,
        'amp': args.amp,
        'classes': images.dataset.metainfo['classes'],
        'palette': images.dataset.metainfo.get('palette'),
        'pipeline': cfg.test_dataloader.dataset.pipeline,
        'model': cfg.model,
    }


def _affinity(affinity: nn.Module, cfg: Config) -> dict[str, Any]:
    """Values, and config and weights of a backbone of its own; the network's own is in the other settings."""
    own = cfg.get('affinity', {}).get('backbone')
    return {
        'values': affinity.extra_repr(),
        'backbone': own,
        'weights': None if own is None else weights_sha256(affinity),
    }
