"""What all benchmarks share: their command line, the description of the machine, and the file of results."""

import argparse
import json
import os
import platform
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from mmseg_wsss.fileio import write_text

ENVIRONMENT = ('OMP_', 'MKL_', 'KMP_', 'MALLOC_', 'LD_PRELOAD', 'PYTORCH_')


def machine(device: torch.device) -> dict:
    """Date, hardware, versions, threads and settings, and how busy the machine is."""
    return dict(
        date=datetime.now(timezone.utc).isoformat(timespec='minutes'),
        device=torch.cuda.get_device_name(device) if device.type == 'cuda' else _cpu_name(),
        threads=torch.get_num_threads(),
        load_average=round(os.getloadavg()[0], 1),
        versions=dict(python=platform.python_version(), **_versions()),
        environment={key: value for key, value in sorted(os.environ.items()) if key.startswith(ENVIRONMENT)},
    )


def _versions() -> dict[str, str]:
    """Of the packages that compute; mmcv or mmcv-lite, whichever is there."""
    found = {}
    for name in ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmcv-lite', 'mmsegmentation', 'mmpretrain', 'numpy'):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _cpu_name() -> str:
    """The CPU's own name where the system tells it, and the number of cores."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return f'{names[0] if names else platform.processor()}, {os.cpu_count()} cores'


def new_parser(doc: str, *, device: bool = False) -> argparse.ArgumentParser:
    """A command line with ``--json`` and, where ``device`` asks for it, ``--device``."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if device:
        parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--json', type=Path, metavar='OUT', help='append the raw numbers to the list in this file')
    return parser


def report(text: str, record: dict, path: Path | None) -> None:
    """Print, and keep the raw numbers where a file is named."""
    print(text)
    if path:
        append_json(record, path)


def append_json(record: dict, path: Path) -> None:
    """Append to the list in ``path``, which is replaced only by a complete file."""
    records = json.loads(path.read_text()) if path.exists() else []
    write_text(path, json.dumps([*records, record], indent=1) + '\n')
