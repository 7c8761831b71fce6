"""A script of tools as a module."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

TOOLS = Path(__file__).parents[1] / 'tools'


def load_tool(path: str) -> ModuleType:
    """``load_tool('dataset_converters/coco14.py')`` runs the file as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, TOOLS / path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str((TOOLS / path).parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module
