"""tools/make_pseudo_labels.py killed, in two processes, and with workers: the same files every time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from colour_net import make_data
from tool_module import load_tool

pytestmark = pytest.mark.slow

pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')

ROOT = Path(__file__).parents[2]
COUNT = 60
TOOL = ROOT / 'tools' / 'make_pseudo_labels.py'
ALL_IMAGES = 'test_dataloader.dataset.ann_file='
OPTIONS = ['--threshold', '0.6', '--refine', 'crf-labels', '--soft', '--cfg-options', ALL_IMAGES]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Enough images, slow enough by the CRF, that a run can be caught in the middle."""
    return make_data(tmp_path_factory.mktemp('processes') / 'data', count=COUNT, side=64)


def arguments(data, out, workers=0):
    return [str(data / 'ColourCAM.py'), str(data / 'net.pth'), '--out', str(out), '--workers', str(workers), *OPTIONS]


def run_here(*args):
    """In this process, which has everything imported; gives the exit status."""
    return load_tool(TOOL.name).main(arguments(*args))


def start(launcher, options):
    """In a session of its own."""
    environment = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests')]),
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '',
    }
    output = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True}
    command = [sys.executable, *launcher, str(TOOL), *options]
    return subprocess.Popen(command, env=environment, start_new_session=True, **output)


def finished_masks(out):
    return {path: path.stat() for path in out.glob('SegmentationClass/*/[!.]*.png')}


def contents(out):
    """Every file but the report, which holds times, and the lock."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob('*')
        if path.is_file() and path.name not in ('report.json', '.lock')
    }


@pytest.fixture(scope='module')
def whole(data, tmp_path_factory):
    """The files of an uninterrupted run of one process."""
    out = tmp_path_factory.mktemp('whole') / 'out'
    assert run_here(data, out) == 0
    files = contents(out)
    assert len(files) == 2 * COUNT + 1
    return files


def alive(group):
    """Processes of a session that still run."""
    listed = subprocess.run(['ps', '-o', 'stat=', '-s', str(group)], capture_output=True, text=True, check=False)
    return [state for state in listed.stdout.split() if not state.startswith('Z')]


def test_killed_in_the_middle_it_goes_on_and_ends_with_the_same_files(data, whole, tmp_path, capsys):
    out = tmp_path / 'out'
    process = start([], arguments(data, out, 2))
    deadline = time.monotonic() + 200
    while len(finished_masks(out)) < 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    while alive(process.pid) and time.monotonic() < deadline:  # the workers end by themselves
        time.sleep(0.02)
    assert alive(process.pid) == []
    before = finished_masks(out)
    assert 5 <= len(before) < COUNT, 'killed in the middle'

    assert run_here(data, out, 2) == 0
    printed = capsys.readouterr().out
    assert f'{COUNT - len(before)} masks written to' in printed
    assert f'{len(before)} were there before' in printed
    assert contents(out) == whole
    after = finished_masks(out)
    for path, state in before.items():
        assert (after[path].st_mtime_ns, after[path].st_ino) == (state.st_mtime_ns, state.st_ino), f'{path} done twice'


def test_two_processes_make_the_files_of_one(data, whole, tmp_path):
    launcher = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
    process = start(launcher, [*arguments(data, tmp_path / 'out'), '--launcher', 'pytorch'])
    try:
        output, _ = process.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, output
    assert f'{COUNT} masks written to' in output
    assert contents(tmp_path / 'out') == whole
