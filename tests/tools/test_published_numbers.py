"""tools/published_numbers.py: every row of the papers, and that each command says what it means."""

import argparse
import copy
import json
import re
import shlex
from functools import cache

import pytest
import torch
from mmengine.config import Config, DictAction
from mmengine.fileio import load
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tool_module import TOOLS, load_tool

import mmseg_wsss  # noqa: F401  registers every part

ROOT = TOOLS.parent
DATA = load(ROOT / 'configs' / 'published_numbers.yml')
RUNS = DATA['runs']
# how many numbers each of the papers' tables has for the paper's own trainings (and Segmenter on ground-truth masks)
NUMBERS = {
    'ToCo Table 2': 6, 'ToCo Table 4': 13, 'ToCo Table 5a': 12, 'ToCo Table 5b': 8, 'ToCo Table 5c': 8,
    'SeCo README': 3, 'SeCo log': 3,
    'WeakTr Table 2': 8, 'WeakTr Table 3': 2, 'WeakTr Table 4': 12, 'WeakTr Table 5': 7, 'WeakTr Table 6': 5,
    'WeakTr Table 8': 5, 'WeakTr Table 9': 2, 'MCTformer+': 1, 'MoRe': 7,
    'DuPL README': 6, 'DuPL log': 18,
}  # fmt: skip


def parsed(options: list[str]) -> dict:
    """As the tools read them."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(['--cfg-options', *options]).cfg_options


@cache
def config(path: str) -> Config:
    """A config, parsed once."""
    return Config.fromfile(ROOT / 'configs' / path)


def merged(run: dict) -> Config:
    """The config of a training with its options in it."""
    cfg = copy.deepcopy(config(run['config']))
    if 'options' in run:
        cfg.merge_from_dict(parsed(run['options']))
    return cfg


def test_every_number_is_there_and_every_training_is_used():
    counts = {table: sum(len(row['published']) for row in rows) for table, rows in DATA['tables'].items()}
    assert counts == NUMBERS
    rows = [row for rows in DATA['tables'].values() for row in rows]
    used = {row['run'] for row in rows} | {labels['run'] for labels in DATA['labels'].values()}
    assert used == set(DATA['runs'])
    assert {row['test'] for row in rows} == set(DATA['tests'])
    for row in rows:
        assert row.get('ours', row['published']).keys() == row['published'].keys(), row['row']


def test_no_training_is_listed_twice():
    models = [json.dumps([run['config'], merged(run).model], sort_keys=True, default=str) for run in RUNS.values()]
    assert len(set(models)) == len(RUNS)


@pytest.mark.parametrize('name', [name for name, run in RUNS.items() if 'options' in run])
def test_options_change_what_the_config_has_and_the_model_builds(name):
    run = RUNS[name]
    before, after = config(run['config']), merged(run)
    replaced = {option.split('._delete_=')[0] for option in run['options'] if '._delete_=' in option}
    for key, value in parsed(run['options']).items():
        if key.rpartition('.')[0] in replaced:
            continue
        old = before
        for part in key.split('.'):  # what the config leaves at its default is known to its class, or building fails
            old = old.get(part) if old else None
        assert old != value, f'{key} is {value} already'
    init_default_scope('mmseg')
    # shapes without numbers, which is quicker; mmseg's Segmenter reads numbers while it is built
    segmenter = after.model.get('decode_head', {}).get('type') == 'MaskTransformerHead'
    with torch.device('cpu' if segmenter else 'meta'):
        model = MODELS.build(after.model)
    assert type(model).__name__ == after.model.type


def test_second_stages_learn_from_the_labels_that_are_made():
    for name, run in RUNS.items():
        dataset = merged(run).train_dataloader.dataset
        assert (dataset.type == 'PseudoMaskDataset') == ('needs' in run or name.startswith('fully')), name
        if 'needs' in run:
            out = re.search(r'--out (\S+)', DATA['labels'][run['needs']]['command'])[1]
            assert dataset.mask_dir == f'{out}/SegmentationClass'


def test_commands_are_those_of_the_tools():
    """Options that the tools' parsers know, files that are there."""
    known = {}
    for command in [*DATA['tests'].values(), *(labels['command'] for labels in DATA['labels'].values())]:
        for part in command.split(' && '):
            _, script, *rest = shlex.split(part)
            text = known.setdefault(script, (ROOT / script).read_text())
            for option in rest:
                assert not option.startswith('--') or f"'{option}'" in text, f'{script} {option}'
    assert set(known) == {
        'tools/test.py',
        'tools/make_pseudo_labels.py',
        'tools/pack_voc_submission.py',
        'tools/analysis_tools/mask_iou.py',
    }


def test_printed_table(capsys):
    load_tool('published_numbers.py').main([])
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith(tuple(f'| {table} |' for table in DATA['tables']))]
    assert len(rows) == sum(map(len, DATA['tables'].values()))
    assert all(line.count(' | ') == 4 and line.endswith('| not run |') for line in rows), 'nothing was run at this size'
    folder, name = 'work_dirs/toco-block8', 'toco_deit-b16_1xb4-20k_voc12aug-448x448.py'
    assert next(line for line in rows if 'auxiliary block 8' in line) == (
        f'| ToCo Table 5a | auxiliary block 8 | `python tools/train.py configs/toco/{name} --work-dir {folder} '
        f"--cfg-options 'model.backbone.out_indices=(7,11)'` then `python tools/test.py {folder}/{name} "
        f'$(cat {folder}/last_checkpoint)` | cam/mIoU 63.5, cam_aux/mIoU 48.1, seg/mIoU 60.5 '
        '(single-scale-448x448) | not run |'
    )
    assert lines[-2].startswith('- `voc`: `python tools/train.py configs/weaktr/weaktr-cam_deit-s16')
