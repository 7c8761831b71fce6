"""WorkerPool: order, bounds, errors, and how many cores a process counts."""

import os

import pytest
from pool_job import Job

from mmseg_wsss import worker_pool
from mmseg_wsss.worker_pool import WorkerPool, usable_cores


def run(tasks, workers):
    results = []
    with WorkerPool(Job, dict(offset=10), workers=workers, finished=results.append) as pool:
        for task in tasks:
            pool.submit(task)
    return results


@pytest.mark.parametrize('workers', [0, 2])
def test_results_come_in_the_order_of_the_tasks(workers):
    results = run([0.4, 0, 1, 2.1, 3, 4, 5], workers)
    assert [value for value, _ in results] == [10.4, 10, 11, 12.1, 13, 14, 15]
    here = [process == os.getpid() for _, process in results]
    assert here == [workers == 0] * 7


def test_no_more_tasks_wait_than_the_workers_need(monkeypatch):
    monkeypatch.setattr(worker_pool, '_QUEUED', 1)
    results = []
    with WorkerPool(Job, dict(offset=0), workers=2, finished=results.append) as pool:
        for number in range(6):
            pool.submit(number + 0.05)
            assert number + 1 - len(results) <= 2
        pool.collect(1)
        assert len(results) >= 5
    assert [round(value) for value, _ in results] == list(range(6))


@pytest.mark.parametrize('workers', [0, 1])
def test_what_the_job_raises_is_raised_here(workers):
    with pytest.raises(ArithmeticError, match='task -1'):
        run([1, -1, 2], workers)


def test_a_worker_that_dies_is_reported():
    with pytest.raises(RuntimeError, match='a worker process died, perhaps of too little memory: give fewer --workers'):
        run([1, None, 2], 1)


def test_launched_processes_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: set(range(7)), raising=False)
    monkeypatch.delenv('LOCAL_WORLD_SIZE', raising=False)
    assert usable_cores() == 7
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '3')
    assert usable_cores() == 2
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '8')
    assert usable_cores() == 1
