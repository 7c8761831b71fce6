"""One list of images labelled by independent jobs, and the check that all of them completed their share."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..folder_lock import locked_folder
from ..text_files import read_json
from .images import MASKS, SOFT, ImageList, Unreadable, are_whole
from .manifest import Manifest
from .report import write_report

_SHOWN = 5


class ShardError(ValueError):
    """Shards are missing, incomplete, or not of the same job."""


class Shard(NamedTuple):
    """Which images a job labels: each ``count``-th of the sorted names, beginning with the ``number``-th.

    Attributes:
        number: 1 .. ``count``.
        count: Number of jobs.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> 'Shard':
        """``'2/3'`` is the second of three.

        Raises:
            ValueError: the text is something else, or the number is not in 1 .. count.
        """
        match = re.fullmatch(r'(\d+)/(\d+)', text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ValueError(f'must be I/N with I in 1..N, for example 2/3, got {text!r}')
        return cls(int(match[1]), int(match[2]))

    def indices(self, names: Sequence[Path]) -> list[int]:
        """Indices of the shard's images, in the order of their names."""
        order = sorted(range(len(names)), key=lambda index: names[index].as_posix())
        return order[self.number - 1 :: self.count]

    @property
    def report(self) -> str:
        """File name of the shard's report."""
        return f'report-{self.number}-of-{self.count}.json'

    @property
    def manifest(self) -> str:
        """Name of the temporary file in which the shard writes the manifest."""
        return f'manifest-{self.number}-of-{self.count}.json'

    def report_of(self, images: ImageList, skipped: Sequence[Unreadable], manifest: Manifest) -> dict[str, Any]:
        """Arguments of ``write_report``: images, file name, and what :func:`merge_shards` checks."""
        indices = self.indices(images.names)
        unlabelled = {one.path for one in skipped}
        masks = [images.names[index].as_posix() for index in indices if images.paths[index] not in unlabelled]
        return {'total': len(indices), 'name': self.report, 'more': {'manifest': manifest.sha256, 'masks': masks}}


@contextmanager
def labels_folder(folder: str | Path, shard: Shard | None) -> Iterator[bool]:
    """Hold the output folder: a shard its own share, beside other shards; a run without shards all of it.

    Yields:
        Whether it is held, see :func:`locked_folder`, which also says what is raised.
    """
    with locked_folder(folder, shared=shard is not None) as held:
        if shard is None:
            yield held
        else:
            with locked_folder(folder, name=f'.lock-{shard.number}-of-{shard.count}'):
                yield held


def merge_shards(folder: str | Path) -> tuple[str, list[Unreadable]]:
    """Check that all shards are complete, and write one ``report.json``.

    Args:
        folder: The output folder that the shards share.

    Returns:
        The report as text, and the images that the shards skipped.

    Raises:
        ShardError: there is no manifest, a shard has not finished or used other settings, or masks (and soft scores, if
            the manifest has them) are missing or damaged. All of these are named.
    """
    folder = Path(folder)
    try:
        manifest = read_json(folder / 'manifest.json')
        reports = _reports(folder)
    except ShardError:
        raise
    except ValueError as error:
        raise ShardError(f'{folder} is not a folder of pseudo-labels: {error}') from error
    wrong = [shard for shard, report in reports.items() if report['manifest'] != manifest['sha256']]
    if wrong:
        raise ShardError(
            f'{_named(wrong)} used settings other than those of {folder / "manifest.json"}: use another folder'
        )
    names = [name for report in reports.values() for name in report['masks']]
    count = manifest['settings']['images']['count']
    skipped = sorted(Unreadable(**one) for report in reports.values() for one in report['skipped'])
    if (len(set(names)), len(names) + len(skipped)) != (len(names), count):
        raise ShardError(f'the shards in {folder} have {len({*names}) + len(skipped)} images, the manifest {count}')
    _check_masks(folder, reports, soft=manifest['settings']['soft'])
    sums = {key: sum(report[key] for report in reports.values()) for key in ('written', 'there_before', 'seconds')}
    text = write_report(
        folder,
        total=count,
        written=sums['written'],
        before=sums['there_before'],
        skipped=skipped,
        seconds=sums['seconds'],
        more={'shards': len(reports)},
    )
    return text, skipped


def _reports(folder: Path) -> dict[Shard, dict[str, Any]]:
    """The shards' reports, complete."""
    shards = []
    for path in folder.glob('report-*-of-*.json'):
        if match := re.fullmatch(r'report-(\d+)-of-(\d+)\.json', path.name):
            shards.append(Shard(int(match[1]), int(match[2])))
    counts = sorted({shard.count for shard in shards})
    if len(counts) != 1:
        divided = f'reports of {" and of ".join(map(str, counts))} shards' if counts else 'no report of a shard'
        raise ShardError(f'{folder} has {divided}: keep those of one division, report-I-of-N.json for I in 1..N')
    missing = sorted({Shard(number + 1, counts[0]) for number in range(counts[0])} - set(shards))
    if missing:
        raise ShardError(f'{_named(missing)} did not finish: run --shard with it (again)')
    return {shard: read_json(folder / shard.report) for shard in sorted(shards)}


def _check_masks(folder: Path, reports: dict[Shard, dict[str, Any]], *, soft: bool) -> None:
    """Open the files of all images that were not skipped."""
    problems = []
    for shard, report in reports.items():
        bad = []
        for name in report['masks']:
            mask, scores = folder / MASKS / f'{name}.png', folder / SOFT / f'{name}.npz' if soft else None
            if not are_whole(mask, scores):
                bad.append(name)
        if bad:
            more = f' and {len(bad) - _SHOWN} more' if len(bad) > _SHOWN else ''
            problems.append(f'{_named([shard])}: missing or damaged: {", ".join(bad[:_SHOWN])}{more}')
    if problems:
        raise ShardError('\n'.join(['call these shards again:', *problems]))


def _named(shards: Sequence[Shard]) -> str:
    """``shards 1/3, 2/3``."""
    return f'shard{"s" * (len(shards) > 1)} ' + ', '.join(f'{number}/{count}' for number, count in shards)
