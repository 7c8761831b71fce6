"""WorkerPool: order, bounds, errors, ends, and how many cores a process counts."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from types import ModuleType

import pytest
from pool_job import Job, Unmakeable

from mmseg_wsss.cores import usable_cores, worker_count
from mmseg_wsss.datasets.image_labels.names import image_name
from mmseg_wsss.worker_pool import WorkerDiedError, WorkerPool, run_tasks

DIED = 'a worker process died, perhaps for lack of memory: use fewer --workers'


def run(tasks, workers):
    with WorkerPool(partial(Job, offset=10), workers=workers) as pool:
        return list(pool.run(tasks))


@pytest.mark.parametrize('workers', [0, 2])
def test_results_come_in_the_order_of_the_tasks(workers):
    results = run([0.4, 0, 1, 2.1, 3, 4, 5], workers)
    assert [value for value, _ in results] == [10.4, 10, 11, 12.1, 13, 14, 15]
    here = [process == os.getpid() for _, process in results]
    assert here == [workers == 0] * 7


@pytest.mark.parametrize('workers', [0, 1])
def test_tasks_are_taken_as_they_are_needed(workers):
    taken = []
    with WorkerPool(partial(Job, offset=0), workers=workers) as pool:
        for number, (value, _) in enumerate(pool.run(taken.append(k) or k + 0.05 for k in range(6))):
            assert round(value) == number
            assert len(taken) <= number + 1 + 2 * workers
    assert number == 5


@pytest.mark.parametrize('workers', [0, 1])
def test_a_function_does_the_tasks(workers):
    results = run_tasks(image_name, ['sub/a.jpg', 'b', '../x', 'c'], workers=workers)
    assert [next(results), next(results)] == ['sub/a', 'b']
    with pytest.raises(ValueError, match=r"'\.\./x' leaves the image folder"):
        next(results)


@pytest.mark.parametrize('workers', [0, 1])
def test_what_the_job_raises_is_raised_here(workers):
    with pytest.raises(ArithmeticError, match='task -1') as raised:
        run([1, -1, 2], workers)
    if workers and sys.version_info >= (3, 11):
        assert raised.value.__notes__ == ['in the task -1']


def test_a_worker_that_dies_is_reported():
    with pytest.raises(WorkerDiedError, match=DIED):
        run([1, None, 2], 1)


def test_a_worker_that_died_while_idle_is_reported():
    pool = WorkerPool(partial(Job, offset=0), workers=1)
    ((_, process),) = pool.run([1])
    os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while not pool._executor._broken and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(WorkerDiedError, match=DIED), pool:
        list(pool.results(2))


@pytest.mark.slow
@pytest.mark.parametrize('end', [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(end):
    """Whether the parent is killed or interrupted, as by Ctrl-C, which reaches the workers too."""
    code = """if True:
        import signal
        from functools import partial
        from pool_job import Job
        from mmseg_wsss.worker_pool import WorkerPool
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is started without it
        with WorkerPool(partial(Job, offset=0), workers=2) as pool:
            for _, process in pool.run(0.4 for _ in range(1000)):
                print(process, flush=True)
    """
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
    with subprocess.Popen(
        [sys.executable, '-c', code], stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as parent:
        workers = set()
        while len(workers) < 2:
            line = parent.stdout.readline()
            workers |= {int(line)} if line.strip().isdigit() else set()  # the forks print when they are imported
        (os.killpg if end == signal.SIGINT else os.kill)(parent.pid, end)
        assert parent.wait(20) != 0
        deadline = time.monotonic() + 10
        while (left := running_in(parent.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert left == []


def running_in(session):
    """Processes of a session, zombies left out."""
    listed = subprocess.run(['ps', '-o', 'pid=,stat=', '-s', str(session)], capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if line.split()[1][0] != 'Z']


@pytest.mark.parametrize('workers', [0, 1])
def test_what_making_the_job_raises_is_raised_here(workers):
    with (
        pytest.raises(LookupError, match='there is no job'),
        WorkerPool(Unmakeable, workers=workers) as pool,
    ):
        list(pool.run([1]))


def test_a_class_that_workers_cannot_import_is_named(monkeypatch):
    """A module of this process alone."""
    module = ModuleType('only_here')
    exec('class Offset: pass', module.__dict__)
    monkeypatch.setitem(sys.modules, 'only_here', module)
    with (
        pytest.raises(ModuleNotFoundError, match="No module named 'only_here'"),
        WorkerPool(partial(Job, offset=module.Offset), workers=1) as pool,
    ):
        list(pool.run([1]))


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


def test_processes_of_a_converter(monkeypatch):
    assert [worker_count(wanted) for wanted in (0, 1, 40)] == [0, 1, 40]
    for cores, expected in ((3, 3), (64, 16)):
        monkeypatch.setattr('mmseg_wsss.cores.usable_cores', lambda cores=cores: cores)
        assert worker_count(None) == expected
