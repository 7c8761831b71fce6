import sys

import pytest

from mmseg_wsss import compat


def test_a_compiled_op_says_what_to_install():
    ops = sys.modules.get('mmcv._ext')
    if ops is None or getattr(ops, '__file__', None):
        pytest.skip('full mmcv is installed: nothing stands in for it')
    remedy = 'Install one with them' if compat.uses_forks() else 'Install mmcv>=2'
    with pytest.raises(RuntimeError, match=rf"'ca_forward_impl' needs the compiled mmcv.*{remedy}"):
        ops.ca_forward_impl()
