"""A hook of the tests: every process writes down its losses. Configs import it, in subprocesses too."""

import json
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class RecordLosses(Hook):
    """Append one JSON line per iteration to ``folder/RANK.jsonl``: ``iter`` and what the step logs, every loss."""

    def __init__(self, *, folder: str) -> None:
        self.folder = Path(folder)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        logged = {name: value.item() for name, value in outputs.items()}
        with (self.folder / f'{get_rank()}.jsonl').open('a') as file:
            file.write(json.dumps({'iter': runner.iter, **logged}) + '\n')


def read_losses(folder: str | Path, rank: int = 0) -> list[dict[str, float]]:
    """What :class:`RecordLosses` wrote."""
    return [json.loads(line) for line in (Path(folder) / f'{rank}.jsonl').read_text().splitlines()]
