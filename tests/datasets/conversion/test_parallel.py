"""Many files in several processes: their order, how far they are read ahead, and what a worker raises."""

import pytest

from mmseg_wsss.datasets.conversion.parallel import run_tasks
from mmseg_wsss.datasets.image_labels.names import image_name


@pytest.mark.parametrize('workers', [0, 1])
def test_results_in_order_and_tasks_as_needed(workers):
    taken = []

    def tasks():
        for k in range(30):
            taken.append(k)
            yield f'sub/{k}.jpg' if k < 20 else '../x'

    results = run_tasks(image_name, tasks(), 30, 'names', workers=workers)
    assert next(results) == 'sub/0'
    assert len(taken) <= 1 + 8 * workers
    assert [next(results) for _ in range(19)] == [f'sub/{k}' for k in range(1, 20)]
    with pytest.raises(ValueError, match=r"'\.\./x' leaves the image folder"):
        next(results)
