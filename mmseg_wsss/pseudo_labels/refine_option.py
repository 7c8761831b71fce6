"""The option ``--refine`` of the tools."""

from mmengine.config import Config

# name -> the key of the config with the refiner's arguments, and its type
REFINERS = {'par': ('par', 'PAR'), 'crf-labels': ('label_crf', 'LabelCRF'), 'crf-scores': ('crf', 'DenseCRF')}


def refiner_of(cfg: Config, refine: str) -> dict | None:
    """Config of the refiner: the defaults of its class, and what the config says."""
    if refine == 'none':
        return None
    key, kind = REFINERS[refine]
    return {'type': kind, **cfg.get(key, {})}
