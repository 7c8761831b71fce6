"""Weakly-supervised semantic segmentation for mmsegmentation; importing the package registers every part."""

from . import compat  # isort: skip  the workarounds come before anything imports mmseg
from . import checkpoints, datasets, engine, evaluation, models, structures, visualization

__version__ = '0.1.0'
__all__ = ['checkpoints', 'compat', 'datasets', 'engine', 'evaluation', 'models', 'structures', 'visualization']
