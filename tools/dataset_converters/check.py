"""Read every file of the data sets of a config and report all problems at once.

    python tools/dataset_converters/check.py configs/toco/toco_deit-b16_1xb4-20k_voc12aug-448x448.py \\
        --expect train=10582 val=1449

It finds listed images that are missing or have no tags, tags that are not classes, duplicate names, files that cannot
be decoded, masks of another size than their image or with ids without a class, a number of images other than --expect
says, and contradictions between tags and masks: a tag whose class is nowhere in the mask, or a class in the mask
without a tag. Tags of published data sets contradict their masks in some images (an annotated object may be too small
to be in the mask), so --allow-contradictions counts these without treating them as problems.

To compare the tags of training images with masks that training does not use, name their folder:
--cfg-options train_dataloader.dataset.data_prefix.seg_map_path=SegmentationClassAug

The exit status is 1 when anything is wrong.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config, DictAction

SPLITS = ('train', 'val', 'test')


def expectation(text: str) -> tuple[str, int]:
    """``val=1449``."""
    split, _, count = text.partition('=')
    if split not in SPLITS or not count.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} should be like val=1449, with one of {", ".join(SPLITS)}')
    return split, int(count)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ``None`` stands for that of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--splits', nargs='+', choices=SPLITS, default=list(SPLITS), help='default: all three')
    parser.add_argument(
        '--expect', nargs='+', type=expectation, default=[], metavar='SPLIT=N', help='numbers of images'
    )
    parser.add_argument('--allow-contradictions', action='store_true', help='only count those between tags and masks')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the full report into this file')
    parser.add_argument('--workers', type=int, help='processes; 0: in this one (default: one per core, at most 16)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override the config')
    args = parser.parse_args(argv)
    args.expect = dict(args.expect)
    if set(args.expect) - set(args.splits):
        parser.error('--expect names a split that --splits leaves out')
    return args


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from mmengine.registry import init_default_scope

import mmseg_wsss  # noqa: F401  registers every part
from mmseg_wsss.cores import worker_count
from mmseg_wsss.datasets.conversion.checking import (
    CONTRADICTIONS,
    OpenedSet,
    check_sample,
    leaf_configs,
    open_set,
    tag_counts,
)
from mmseg_wsss.datasets.image_labels.problems import DataSetError
from mmseg_wsss.engine import read_config
from mmseg_wsss.fileio import unwritable, write_text
from mmseg_wsss.progress import progress_bar
from mmseg_wsss.worker_pool import run_tasks

COUNT = 'another number of images than expected'


def data_sets(cfg: Config, splits: Sequence[str]) -> list[tuple[list[str], dict]]:
    """The different data sets of a config, each with the splits that read it."""
    found: list[tuple[list[str], dict]] = []
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        for leaf in leaf_configs(loader['dataset'].to_dict()) if loader else ():
            files = {key: value for key, value in leaf.items() if key not in ('pipeline', 'test_mode')}
            same = next((names for names, other in found if other == files), None)
            if same is None:
                found.append(([split], files))
            elif split not in same:
                same.append(split)
    return found


def check_set(name: str, opened: OpenedSet, workers: int) -> dict:
    """Read all files of a data set; returns its part of the report, with the problems of each kind."""
    problems = {kind: list(texts) for kind, texts in opened.problems.items()}
    pixels = [0] * len(opened.classes)
    contradicting = 0
    results = run_tasks(check_sample, opened.samples, workers=workers)
    for findings, shown in progress_bar(results, text=f'check of {name}', total=len(opened.samples)):
        contradicting += any(kind in CONTRADICTIONS for kind, _ in findings)
        for kind, text in findings:
            problems.setdefault(kind, []).append(text)
        for i in shown:
            if i < len(pixels):
                pixels[i] += 1
    tags = tag_counts(opened)
    masks = sum(sample.mask is not None for sample in opened.samples)
    tagged = any(sample.tags is not None for sample in opened.samples)
    foreground = opened.classes[1:]
    return {
        'images': len(opened.samples),
        'masks': masks,
        'images_without_tags': tags[None],
        'images_with_tag': {c: tags[k] for k, c in enumerate(foreground)} if tagged else None,
        'images_with_class_in_mask': dict(zip(foreground, pixels[1:], strict=True)) if masks else None,
        'images_with_contradiction': contradicting if masks and tagged else None,
        'problems': problems,
    }


def describe(name: str, found: dict) -> str:
    """What a data set holds, in words."""
    lines = [
        f'{name}: {found["images"]} images, {found["masks"]} with masks, {found["images_without_tags"]} without tags'
    ]
    for key, text in (('images_with_tag', 'tags'), ('images_with_class_in_mask', 'in masks')):
        if found[key] is not None:
            lines.append(f'  {text}: ' + ', '.join(f'{c} {count}' for c, count in found[key].items()))
    if found['images_with_contradiction'] is not None:
        share = 100 * found['images_with_contradiction'] / max(found['masks'], 1)
        count = {kind: len(found['problems'].get(kind, ())) for kind in CONTRADICTIONS}
        lines.append(
            f'  tags and masks contradict in {found["images_with_contradiction"]} images ({share:.1f} %): '
            + ', '.join(f'{kind} {number}' for kind, number in count.items())
        )
    return '\n'.join(lines)


def check_config(args: argparse.Namespace, cfg: Config) -> tuple[dict[str, dict], DataSetError | None]:
    """Check all data sets; returns the report of each, and all problems."""
    report: dict[str, dict] = {}
    wrong: dict[str, list[str]] = {}
    counts = dict.fromkeys(args.expect, 0)
    for splits, config in data_sets(cfg, args.splits):
        name = '+'.join(splits)
        while name in report:
            name += "'"  # one more of a wrapper's data sets
        found = report[name] = check_set(name, open_set(config), args.workers)
        print(describe(name, found))
        for split in splits:
            if split in counts:
                counts[split] += found['images']
        for kind, texts in found['problems'].items():
            if kind not in CONTRADICTIONS or not args.allow_contradictions:
                wrong.setdefault(kind, []).extend(texts)
    for split, count in counts.items():
        if count != args.expect[split]:
            text = f'{args.config}: {split}_dataloader has {count} images, not {args.expect[split]}'
            wrong.setdefault(COUNT, []).append(text)
    return report, DataSetError(wrong) if wrong else None


def main(argv: Sequence[str] | None = None) -> int:
    """Check; returns the exit status."""
    args = parse_args(argv)
    if args.json and (problem := unwritable(args.json, file=True)):
        sys.exit(f'error: --json {problem}')
    args.workers = worker_count(args.workers)
    cfg = read_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    report, error = check_config(args, cfg)
    if not report:
        print(f'{args.config}: has none of the dataloaders of {", ".join(args.splits)}', file=sys.stderr)
        return 1
    if args.json:
        record = {
            'config': args.config,
            'wrong': error is not None,
            'unexpected_counts': error.problems.get(COUNT, []) if error else [],
            'data_sets': report,
        }
        write_text(args.json, json.dumps(record, indent=1, ensure_ascii=False) + '\n')
    if error is not None:
        print(error, file=sys.stderr)
        return 1
    print('nothing is wrong')
    return 0


if __name__ == '__main__':
    sys.exit(main())
