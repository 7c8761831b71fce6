"""tools/test.py on a random toy ToCo."""

from functools import partial

import pytest
from toy_segmentation import make_toy, run_test


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    """The folder of the network and its images."""
    return make_toy(tmp_path_factory.mktemp('toy'))


@pytest.fixture
def run(toy, tmp_path):
    """Run the tool with some options; gives the record it wrote and the masks by name."""
    return partial(run_test, toy, tmp_path)
