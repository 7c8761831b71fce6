"""How many processes a machine has room for."""

import os
import re


def usable_cores() -> int:
    """How many cores this process may use, where several were launched on this machine its share of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    names = ('LOCAL_WORLD_SIZE', 'SLURM_CPUS_PER_TASK', 'SLURM_NTASKS_PER_NODE')  # Slurm: 8(x2) is 8 on each of 2 nodes
    together, own, tasks = (int((re.match(r'\d+', os.environ.get(name, '')) or '0')[0]) for name in names)
    return min(cores, own) if own and not together else max(1, cores // (together or tasks or 1))


def worker_count(wanted: int | None) -> int:
    """Processes of a converter: as many as are wanted, 0 for none beside this one; None is one per core, at most 16."""
    return min(16, usable_cores()) if wanted is None else wanted
