"""The optimizer's settings in a few lines of the log."""

import logging
from collections import Counter

from mmengine.logging import MMLogger, print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

_PER_PARAMETER = ('paramwise_options -- ', 'requires_grad=False')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class SummaryOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor that logs one line per distinct setting instead of one or more per parameter.

    The optimizer is the same. Which parts of the model have which setting is said by the names of the model's
    children; those that are not trained are listed too.

    Args:
        optim_wrapper_cfg, paramwise_cfg: of mmengine's ``DefaultOptimWrapperConstructor``.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer of a model inside its wrapper."""
        logger = MMLogger.get_current_instance()
        logger.addFilter(_is_no_detail)  # mmengine logs each parameter at the level INFO or WARNING
        try:
            wrapper = super().__call__(model)
        finally:
            logger.removeFilter(_is_no_detail)
        for line in _summary(getattr(model, 'module', model), wrapper):
            print_log(line, logger='current')
        return wrapper


def _is_no_detail(record: logging.LogRecord) -> bool:
    return not any(text in record.getMessage() for text in _PER_PARAMETER)


def _summary(model: nn.Module, wrapper: OptimWrapper) -> list[str]:
    """One line per distinct learning rate and weight decay, and one for what is not trained."""
    settings = {
        id(parameter): f'lr {group["lr"]:g}, weight decay {group.get("weight_decay", 0):g}'
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }
    parts: dict[str, Counter] = {}
    for name, parameter in model.named_parameters():
        setting = settings[id(parameter)] if parameter.requires_grad else 'not trained'
        parts.setdefault(setting, Counter())[name.split('.')[0]] += parameter.numel()
    return [
        f'optimizer: {setting}: ' + ', '.join(f'{part} ({count:,} values)' for part, count in counts.items())
        for setting, counts in parts.items()
    ]
