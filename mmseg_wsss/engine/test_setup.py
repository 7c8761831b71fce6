"""What the tools that run a trained network share: wrapping it, its images' folder, and its whole checkpoint."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import Config


def post_process(cfg: Config, *, tta: bool, crf: bool) -> None:
    """Wrap the model for several scales and flips, for a CRF, or for both; only the segmentation is evaluated then.

    Raises:
        ValueError: ``tta`` where the config has no ``tta_model`` and ``tta_pipeline``.
    """
    if tta and not ('tta_model' in cfg and 'tta_pipeline' in cfg):
        raise ValueError(f'{cfg.filename} has no tta_model and tta_pipeline; add configs/_base_/tta.py to its _base_')
    dataset = cfg.test_dataloader.dataset
    if tta:
        dataset.pipeline = cfg.tta_pipeline
        wrapper = dict(cfg.tta_model)
    else:  # one augmentation that changes nothing
        dataset.pipeline = [{'type': 'TestTimeAug', 'transforms': [[step] for step in dataset.pipeline]}]
        wrapper = {'type': 'MaxScaleTTA'}
    if crf:
        wrapper['refiner'] = cfg.get('crf', {'type': 'DenseCRF'})
    cfg.model.setdefault('test_cfg', {'mode': 'whole'})
    cfg.model.test_cfg.cam = False
    own = cfg.pop('data_preprocessor', None)  # the Runner would give it to the wrapper, and that overrules the model's
    if own is not None:
        cfg.model.setdefault('data_preprocessor', own)
    cfg.model = dict(wrapper, module=cfg.model)


def image_folder(dataset: dict) -> str | None:
    """The folder that the image paths of a data set start from, as far as its config says it."""
    prefix = (dataset.get('data_prefix') or {}).get('img_path')
    return None if prefix is None else os.path.join(dataset.get('data_root') or '', prefix)


@contextmanager
def whole_checkpoint(checkpoint: str, config: str) -> Iterator[None]:
    """Around a strict loading: a model that is half random would be used without anybody noticing.

    Args:
        checkpoint: File that is loaded.
        config: Name of the config that the model is from.

    Raises:
        ValueError: the checkpoint does not fit the model; the message lists the keys.
    """
    try:
        yield
    except RuntimeError as error:
        raise ValueError(f'{checkpoint} does not fit the model of {config}: {error}') from error
