"""Start command lines as a shell would, in process groups that end with the call."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_together(*commands: Sequence[str | Path], timeout: float = 300, **variables: str) -> list[str]:
    """Run the commands at the same time, on CPUs and one thread each; what each printed.

    Args:
        commands: programs with their arguments; a dict as the first element holds variables of that program alone.
        timeout: seconds after which everything that was started is killed.
        variables: of all programs' environment.

    Raises:
        AssertionError: one of them ended with an error; the message is its output.
    """
    common = {
        **os.environ,
        'PYTHON': sys.executable,
        'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests')]),
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '',
        **variables,
    }
    started = []
    try:
        for command in commands:
            own = command[0] if isinstance(command[0], dict) else {}
            # a session of its own, so that a timeout ends the processes that torchrun started too
            started.append(
                subprocess.Popen(
                    command[1:] if own else command,
                    env=common | own,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    start_new_session=True,
                )
            )
        outputs = [one.communicate(timeout=timeout)[0] for one in started]
    finally:
        for one in started:
            if one.poll() is None:
                os.killpg(one.pid, signal.SIGKILL)
                one.communicate()
    for one, output in zip(started, outputs, strict=True):
        assert one.returncode == 0, output
    return outputs


def train_in_processes(count: int, configs: Sequence[Path]) -> None:
    """Train the configs one after the other in ``count`` processes of this machine."""
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(count)]
    run_together([*torchrun, ROOT / 'tests' / 'train_configs.py', *configs])
