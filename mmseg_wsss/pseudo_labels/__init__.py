"""Pseudo-labels as a folder of masks, from any network with CAMs or any trained segmentation network."""

from .combine import agreed, highest_mean
from .images import ImageList, Unreadable, as_it_is, build_dataset, sample_or_unreadable, without_masks
from .labelling import label_images
from .manifest import Manifest, ManifestError
from .refine_option import REFINERS, affinity_of, refiner_of
from .report import write_report
from .scores import Scorer, choose_source, load_model
from .settings import settings_of
from .shards import Shard, ShardError, labels_folder, merge_shards
from .soft import load_soft_scores, write_soft_scores
from .sweep import sweep_threshold

__all__ = [
    'REFINERS',
    'ImageList',
    'Manifest',
    'ManifestError',
    'Scorer',
    'Shard',
    'ShardError',
    'Unreadable',
    'affinity_of',
    'agreed',
    'as_it_is',
    'build_dataset',
    'choose_source',
    'highest_mean',
    'label_images',
    'labels_folder',
    'load_model',
    'load_soft_scores',
    'merge_shards',
    'refiner_of',
    'sample_or_unreadable',
    'settings_of',
    'sweep_threshold',
    'without_masks',
    'write_report',
    'write_soft_scores',
]
