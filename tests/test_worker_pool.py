"""WorkerPool: order, bounds, errors, and how many cores a process counts."""

import os
import signal
import sys
import time
from types import ModuleType

import pytest
from pool_job import Job, Unmakeable

from mmseg_wsss import worker_pool
from mmseg_wsss.worker_pool import WorkerDiedError, WorkerPool, usable_cores

DIED = 'a worker process died, perhaps of too little memory: give fewer --workers'


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
    with pytest.raises(WorkerDiedError, match=DIED):
        run([1, None, 2], 1)


def test_a_worker_that_died_while_idle_is_reported():
    results = []
    with WorkerPool(Job, dict(offset=0), workers=1, finished=results.append) as pool:
        pool.submit(1)
        pool.collect()
        os.kill(results[0][1], signal.SIGKILL)
        deadline = time.monotonic() + 20
        while not pool._executor._broken and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(WorkerDiedError, match=DIED):
            pool.submit(2)


@pytest.mark.parametrize('workers', [0, 1])
def test_what_making_the_job_raises_is_raised_here(workers):
    with (
        pytest.raises(LookupError, match='there is no job'),
        WorkerPool(Unmakeable, {}, workers=workers, finished=print) as pool,
    ):
        pool.submit(1)


def test_a_class_that_workers_cannot_import_is_named(monkeypatch):
    """A module of this process alone."""
    module = ModuleType('only_here')
    exec('class Offset: pass', module.__dict__)
    monkeypatch.setitem(sys.modules, 'only_here', module)
    with (
        pytest.raises(ModuleNotFoundError, match="No module named 'only_here'"),
        WorkerPool(Job, dict(offset=module.Offset), workers=1, finished=print) as pool,
    ):
        pool.submit(1)


@pytest.mark.parametrize(
    ('variables', 'cores'),
    [
        ({}, 7),
        ({'LOCAL_WORLD_SIZE': '3'}, 2),
        ({'LOCAL_WORLD_SIZE': '8'}, 1),
        ({'SLURM_NTASKS_PER_NODE': '3'}, 2),
        ({'SLURM_NTASKS_PER_NODE': '2(x2)'}, 3),
        ({'SLURM_NTASKS_PER_NODE': 'several'}, 7),
        ({'SLURM_NTASKS_PER_NODE': '8', 'LOCAL_WORLD_SIZE': '2'}, 3),
        ({'SLURM_NTASKS_PER_NODE': '8', 'SLURM_CPUS_PER_TASK': '4'}, 4),  # not bound to its cores
        ({'SLURM_NTASKS_PER_NODE': '8', 'SLURM_CPUS_PER_TASK': '9'}, 7),
        ({'SLURM_CPUS_PER_TASK': '4', 'LOCAL_WORLD_SIZE': '2'}, 3),
    ],
)
def test_launched_processes_share_the_cores(monkeypatch, variables, cores):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: set(range(7)), raising=False)
    for name in ('LOCAL_WORLD_SIZE', 'SLURM_NTASKS_PER_NODE', 'SLURM_CPUS_PER_TASK'):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert usable_cores() == cores
