"""The toy trainings as fixtures."""

import pytest
from toy_runs import seco_config, stage1_config, stage2_config, toco_config


@pytest.fixture
def toy_cfg(tmp_path):
    """ToCo with every loss, six iterations."""
    return toco_config(tmp_path)


@pytest.fixture
def seco_cfg(tmp_path):
    """SeCo with every loss."""
    return seco_config(tmp_path)


@pytest.fixture
def stage1_cfg(tmp_path):
    """WeakTr's first stage."""
    return stage1_config(tmp_path)


@pytest.fixture
def stage2_cfg(tmp_path):
    """WeakTr's second stage."""
    return stage2_config(tmp_path)
