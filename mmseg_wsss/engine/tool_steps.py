"""Steps that call the project's own command-line tools."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from .steps import Step


def last_checkpoint(config: Path, folder: Path) -> Path:
    """The last checkpoint that training with ``config`` leaves in ``folder``.

    Raises:
        ValueError: the config does not count iterations.
    """
    loop = Config.fromfile(config).train_cfg
    if 'max_iters' not in loop:
        raise ValueError(f'{config}: train_cfg has no max_iters, a training by iterations is expected')
    return folder / f'iter_{loop.max_iters}.pth'


@dataclass(kw_only=True)
class ToolSteps:
    """Collects steps of ``tools/``.

    Args:
        tools: the folder of the tools.
        python: arguments of the interpreter in front of a tool's name, for a tool that wraps tools.
    """

    tools: Path
    python: tuple[str, ...] = ()
    steps: list[Step] = field(default_factory=list)

    def add(self, tool: str, *arguments: str | Path, **step) -> Step:
        """Add a call of any tool; ``step`` are the arguments of :class:`Step` but the command."""
        command = (*self.python, str(self.tools / tool), *map(str, arguments))
        self.steps.append(Step(command=command, **step))
        return self.steps[-1]

    def train(
        self, about: str, config: Path, folder: Path, *, seed: int, options: Iterable[str] = (), needs: tuple = ()
    ) -> Step:
        """Add a training, which goes on from its latest checkpoint; ``options`` are further arguments of the tool."""
        return self.add(
            'train.py',
            *(config, '--work-dir', folder, '--resume', '--seed', seed, *options),
            title=f'train {about}',
            folder=folder,
            name='train',
            configs=(config,),
            needs=needs,
            results=(last_checkpoint(config, folder),),
            fresh=True,
        )

    def test(
        self,
        about: str,
        config: Path,
        training: Step,
        *,
        folder: Path | None = None,
        tta: bool = False,
        crf: bool = False,
        options: Iterable[str] = (),
    ) -> Step:
        """Add a test of what a training left; its metrics go to ``folder``, that of the training by default."""
        folder = folder or training.folder
        name = 'test' + '_tta' * tta + '_crf' * crf
        how = ' and '.join(['multi-scale'] * tta + ['CRF'] * crf)
        flags = ['--tta'] * tta + ['--crf'] * crf
        return self.add(
            'test.py',
            *(config, training.results[0], '--work-dir', folder, *flags, *options),
            title=f'test {about}' + (f', {how}' if how else ''),
            folder=folder,
            name=name,
            configs=(config,),
            needs=(training,),
            results=(folder / f'{name}.json',),
        )


def metrics_of(test: Step) -> dict[str, float | None]:
    """What a complete test measured."""
    return json.loads(test.results[0].read_text(encoding='utf-8'))['metrics']
