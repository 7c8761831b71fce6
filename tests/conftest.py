"""Fixtures of the whole suite: where the recorded numbers and the optional shared data are."""

import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from published import GOLDEN, drawn_vit

import mmseg_wsss  # noqa: F401  registers every part before a test builds one


@pytest.fixture(scope='session')
def shared() -> Path:
    """The folder with real data and weights; the test is skipped where it is absent."""
    root = Path(os.environ.get('MMSEG_WSSS_SHARED', Path(__file__).parents[2] / 'shared'))
    if not (root / 'golden').is_dir():
        pytest.skip(f'no shared data at {root} (set MMSEG_WSSS_SHARED)')
    return root


@pytest.fixture(scope='session')
def golden():
    """``golden('toco_ptc')`` gives the arrays of that recording as tensors."""

    def load(name: str) -> dict[str, torch.Tensor]:
        with np.load(GOLDEN / f'{name}.npz', allow_pickle=False) as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files}

    return load


@pytest.fixture(params=['drawn', 'real'])
def vit_file(request, tmp_path):
    """``vit_file(name)`` is the path of a pretrained file of ``VIT_FILES``: the real one, or random weights like it."""

    def draw(name: str) -> Path:
        torch.save(drawn_vit(name), tmp_path / name)
        return tmp_path / name

    if request.param == 'drawn':
        return draw
    folder = request.getfixturevalue('shared') / 'weights'
    return lambda name: folder / name


@pytest.fixture(autouse=True)
def _seed():
    seed = int(os.environ.get('TEST_SEED', 0))  # whether a test passes must not depend on it
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class _Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.fixture
def code_that_writes(tmp_path) -> tuple[object, Path]:
    """An object whose pickle makes a file as soon as it is read, and that file."""
    code, written = _Touch(tmp_path / 'written'), tmp_path / 'written'
    pickle.loads(pickle.dumps(code))
    written.unlink()  # it was made, so the pickle works
    return code, written
