"""Weight files: reading and writing them safely, fetching them, and renaming those of published implementations."""

from .download import cache_folder, fetch
from .files import checked, read_checkpoint, read_weights, unchecked, write_weights
from .key_table import KeyTable, renamed, report_problems
from .published_layouts import CLIP, DUPL, LAYOUTS, MCTFORMER_PLUS, MORE, SECO, TIMM, TOCO, WEAKTR_CAM, WEAKTR_SEG
from .zoo import ZOO, Weights, address, find

__all__ = [
    'CLIP',
    'DUPL',
    'LAYOUTS',
    'MCTFORMER_PLUS',
    'MORE',
    'SECO',
    'TIMM',
    'TOCO',
    'WEAKTR_CAM',
    'WEAKTR_SEG',
    'ZOO',
    'KeyTable',
    'Weights',
    'address',
    'cache_folder',
    'checked',
    'fetch',
    'find',
    'read_checkpoint',
    'read_weights',
    'renamed',
    'report_problems',
    'unchecked',
    'write_weights',
]
