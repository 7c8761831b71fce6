"""Metrics of three processes are exactly those of one, however the images are divided."""

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from cam_samples import SHARES, measure, measure_share

pytestmark = pytest.mark.slow

PROCESSES = 3


@pytest.fixture(scope='module')
def measured(tmp_path_factory):
    """Per process the results of all shares, and the folder of the masks."""
    folder = tmp_path_factory.mktemp('metrics')
    mp.spawn(measure_share, (PROCESSES, str(folder)), nprocs=PROCESSES)
    return [torch.load(folder / f'{rank}.pth', weights_only=False) for rank in range(PROCESSES)], folder


@pytest.mark.parametrize(('count', 'batch_size'), SHARES)
def test_all_processes_have_the_numbers_of_one(measured, tmp_path, count, batch_size):
    expected = measure(tmp_path, count, batch_size)
    for results in measured[0]:
        own = results[SHARES.index((count, batch_size))]
        assert own == expected, 'exactly, no image twice'
    assert expected['cam'] == expected['gathered by messages']
    assert expected['cam']['cam/num_classes'] == expected['cam']['cam_aux/num_classes'] == 4, 'the dog counts'
    assert expected['cam']['seg/num_classes'] == 3
    values = [value for metrics in expected.values() for name, value in metrics.items() if 'Fscore' not in name]
    assert np.isfinite([value for value in values if np.isscalar(value)]).all()
    assert len(list((measured[1] / f'masks-{count}-{batch_size}').glob('*.png'))) == count


def test_a_repeated_image_would_be_seen(tmp_path):
    """The images differ enough for one of them counted twice to change every number."""
    five, six = (measure(tmp_path, count, 1)['cam'] for count in (5, 6))
    assert all(abs(five[f'{name}/mIoU'] - six[f'{name}/mIoU']) > 1e-3 for name in ('cam', 'cam_aux', 'seg'))
