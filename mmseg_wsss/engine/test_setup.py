"""What the tools that run a trained network share: several scales, a CRF, the images' folder, the whole checkpoint."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import Config
from mmengine.model import is_model_wrapper
from torch import nn

from ..models import CAMSegmentor


def use_tta(cfg: Config) -> None:
    """Wrap the model for several scales and flips; only the segmentation is evaluated then.

    Raises:
        ValueError: the config has no ``tta_model`` and ``tta_pipeline``.
    """
    if not ('tta_model' in cfg and 'tta_pipeline' in cfg):
        raise ValueError(f'{cfg.filename} has no tta_model and tta_pipeline; add configs/_base_/tta.py to its _base_')
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    _segment_only(cfg)
    own = cfg.pop(
        'data_preprocessor', None
    )  # the Runner would pass it to the wrapper, which would override the model's
    if own is not None:
        cfg.model.setdefault('data_preprocessor', own)
    cfg.model = dict(cfg.tta_model, module=cfg.model)


def use_crf(cfg: Config, *, workers: int | None = None) -> None:
    """Refine the segmentation with the config's ``crf`` before it is evaluated; CAMs are not evaluated then.

    A ``RefiningEvaluator`` in the config is replaced; its metrics are kept. Call it before :func:`use_tta`.

    Args:
        cfg: Changed in place.
        workers: As in ``RefiningEvaluator``.

    Raises:
        ValueError: the config has another evaluator, which may not be replaceable.
    """
    refiner = {'type': 'DenseCRF', **cfg.get('crf', {})}
    metrics = cfg.test_evaluator
    if _has_metrics(metrics):
        kind = metrics.get('type', 'Evaluator')
        kind = getattr(kind, '__name__', kind)
        if kind not in ('Evaluator', 'RefiningEvaluator'):
            raise ValueError(f'{cfg.filename}: a CRF replaces the test_evaluator, which is a {kind}')
        metrics = metrics['metrics']
    _segment_only(cfg)
    cfg.test_evaluator = {'type': 'RefiningEvaluator', 'metrics': metrics, 'refiner': refiner, 'workers': workers}


def add_metric(cfg: Config, metric: dict) -> None:
    """Add a metric to the test, inside the evaluator if the config has one.

    Args:
        cfg: Changed in place.
        metric: Config of the metric.
    """
    evaluator = cfg.test_evaluator
    if _has_metrics(evaluator):
        cfg.test_evaluator = {**evaluator, 'metrics': [*_listed(evaluator['metrics']), metric]}
    else:
        cfg.test_evaluator = [*_listed(evaluator), metric]


def _has_metrics(evaluator: dict | list) -> bool:
    """Whether this is an evaluator with metrics rather than one metric or several, by mmengine's rule."""
    return isinstance(evaluator, dict) and 'metrics' in evaluator


def _listed(metrics: dict | list) -> list:
    """One metric or several as a list."""
    return list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]


def _segment_only(cfg: Config) -> None:
    """Let the model make no CAMs."""
    cfg.model.setdefault('test_cfg', {'mode': 'whole'})
    cfg.model.test_cfg.cam = False


def image_folder(dataset: dict) -> str | None:
    """The folder that the image paths of a data set start from, if its config names one."""
    prefix = (dataset.get('data_prefix') or {}).get('img_path')
    return None if prefix is None else os.path.join(dataset.get('data_root') or '', prefix)


@contextmanager
def whole_checkpoint(checkpoint: str, config: str) -> Iterator[None]:
    """Context for loading a checkpoint: a model that stays partly random must not be used unnoticed.

    Args:
        checkpoint: File that is loaded.
        config: Name of the model's config.

    Raises:
        ValueError: the checkpoint does not fit the model; the message lists the keys.
    """
    try:
        yield
    except RuntimeError as error:
        raise ValueError(f'{checkpoint} does not fit the model of {config}: {error}') from error


def load_own_weights(model: nn.Module) -> str:
    """Load the weights of a network that needs no checkpoint, such as ``CLIPCAM``.

    Returns:
        Their SHA-256.

    Raises:
        ValueError: the network is one that is trained, or its config names no weights.
    """
    model = model.module if is_model_wrapper(model) else model
    if not (isinstance(model, CAMSegmentor) and not model.needs_checkpoint):
        raise ValueError(f'{type(model).__name__} is trained: give its checkpoint after the config')
    if not model.is_init:
        model.init_weights()
    return weights_sha256(model)


def weights_sha256(module: nn.Module) -> str:
    """SHA-256 of the names and values of a state dict."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
