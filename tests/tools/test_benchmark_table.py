"""tools/analysis_tools/benchmark_table.py: what it collects, and the cells by hand."""

import json
from pathlib import Path

import pytest
import yaml
from colour_net import make_data
from tool_module import load_tool
from two_stages import CAM_ITERS, write_configs

ROOT = Path(__file__).parents[2]
PAGE = 'before\n<!-- table -->\nold\n<!-- end of table -->\nafter\n'
RUNS = {
    'cam': {'labels': [], 'seeds': [0, 1]},
    'seg': {'masks': 'cam', 'labels': [], 'seeds': [0, 1], 'title': 'two stages', 'counterpart': 'fully'},
    'again': {'masks': 'seg', 'title': 'second round', 'counterpart': 'fully'},
    'fully': {'title': 'masks', 'seeds': [0, 1]},
    'other': {'network': 'cam', 'labels': [], 'title': 'refined labels'},
    'both': {'combine': ['cam', 'other'], 'labels': []},
    'last': {'masks': 'both', 'title': 'on both'},
    'later': {'title': 'another'},
}


@pytest.fixture(scope='module')
def tool():
    return load_tool('analysis_tools/benchmark_table.py')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_configs(make_data(tmp_path_factory.mktemp('benchmark') / 'data', count=8, side=32))


def write_plan(data, folder):
    stages = {'cam': 'cam', 'other': 'cam', 'fully': 'fully'}
    configs = {name: str(data / f'{stages.get(name, "seg")}.py') for name in RUNS if name != 'both'}
    runs = {name: {'config': configs[name]} | run if name in configs else run for name, run in RUNS.items()}
    plan = folder / 'plan.yml'
    plan.write_text(yaml.safe_dump({'data_root': '', 'train': '', 'ground_truth': '', 'runs': runs}, sort_keys=False))
    return plan


def record(run, seed, **values):
    return {'run': run, 'seed': seed, 'CPU s train': 60.0, 'CPU s label': 0, 'images': 100, 'MiB': 500} | values


def classes(*values):
    return dict(zip(('background', 'cat'), values, strict=True))


RECORDS = [
    record('cam', 0, CAM=50.0, labels=60.0, **{'CPU s label': 30.0}),
    record('cam', 1, CAM=54.0, labels=61.0, **{'CPU s label': 30.0}),
    record('seg', 0, labels=70.0, segmentation=66.0, val=63.0, **{'val IoU': classes(80, 46), 'CPU s label': 240.0}),
    record('seg', 1, val=65.0, MiB=700, **{'val IoU': classes(81, 49), 'val MS + CRF': 67.0, 'CPU s train': 180.0}),
    record('again', 0, val=70.4, **{'val IoU': classes(90, 50.8), 'val MS + CRF': 71.0}),
    {'run': 'other', 'seed': 0, 'labels': 64.0, 'CPU s label': 60.0, 'CPU s train': 0, 'MiB': None},
    {'run': 'both', 'seed': 0, 'labels': 68.0, 'CPU s label': 0, 'CPU s train': 0, 'MiB': None},
    record('last', 0, val=72.0, **{'val IoU': classes(91, 53)}),
    record('fully', 0, val=80.0, **{'val IoU': classes(90, 70), 'val MS + CRF': 81.0}),
]


def test_cells_by_hand(tool, data, tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(PAGE)
    (tmp_path / 'page').mkdir()
    (tmp_path / 'page/records.jsonl').write_text(''.join(json.dumps(one) + '\n' for one in RECORDS))
    tool.main([str(write_plan(data, tmp_path)), str(page)])
    before, _, head, _, *rows, _, after = page.read_text().splitlines()
    assert (before, after) == ('before', 'after')
    assert head.startswith(
        '| method | CAM | labels | segmentation | val | val MS | val MS + CRF | share of counterpart |'
    )
    assert rows == [
        # CAM and labels of the first stage; 2 min of training and 0.5 of labels for seed 0, 4 and 0.5 for seed 1
        '| two stages | 52.0 ± 2.8 | 60.5 ± 0.7 | 66.0 | 64.0 ± 1.4 |  | 67.0 '
        '| 80.0 % / 82.7 % | 200 | 3 + 0 | 700 | 2 |',
        # three trainings; labels of both rounds, 30 s and 240 s
        '| second round | 50.0 | 70.0 |  | 70.4 |  | 71.0 | 88.0 % / 87.7 % | 300 | 3 + 4 | 500 | 1 |',
        '| masks |  |  |  | 80.0 |  | 81.0 |  | 100 | 1 + 0 | 500 | 1 |',
        '| refined labels | 50.0 | 64.0 |  |  |  |  |  |  | not run |  | 0 |',
        # one first stage, its labels twice: 30 s and 60 s
        '| on both | 50.0 | 68.0 |  | 72.0 |  |  |  | 200 | 2 + 2 | 500 | 1 |',
        '| another |  |  |  |  |  |  |  |  | not run |  | 0 |',
    ]
    for name in ('minutes', 'classes'):
        assert (tmp_path / f'page/{name}.png').read_bytes().startswith(b'\x89PNG')


def test_a_page_without_the_marks_is_left_alone(tool, data, tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('text')
    with pytest.raises(SystemExit, match=r'needs the lines <!-- table --> and <!-- end of table -->, each once'):
        tool.main([str(write_plan(data, tmp_path)), str(page)])
    assert page.read_text() == 'text'


def test_what_is_collected(tool, data, tmp_path):
    def write(path, value):
        (tmp_path / 'work' / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'work' / path).write_text(value if isinstance(value, str) else json.dumps(value))

    step = {'run': 'cam', 'seed': 1, 'CPU s': 60.0, 'peak MiB': 400}
    train = step | {'command': f'python tools/train.py c.py --work-dir {tmp_path}/work/cam/1'}
    label = step | {'command': 'python tools/make_pseudo_labels.py c.py', 'CPU s': 7.5, 'peak MiB': 900}
    other = step | {'command': 'python tools/test.py c.py'}
    write('cam/1/steps.jsonl', ''.join(json.dumps(one) + '\n' for one in (train, train, label, other)))
    write('cam/1/train/test.json', {'metrics': {'cam/best_mIoU': 51.23456, 'cam/best_threshold': 0.4, 'cam/mIoU': 1}})
    write('cam/1/labels/iou.json', {'mIoU': 61.5, 'IoU': classes(90, 33)})
    write('cam/1/test_tta.json', {'metrics': {'seg/mIoU': 45.0}, 'IoU': {'seg': classes(50, 40)}})
    write('cam/1/a/vis_data/scalars.json', '{"loss": 2.0, "iter": 20}\n{"loss": 1.5, "iter": 40}\n')
    write('cam/1/b/vis_data/scalars.json', '{"loss": 1.4567891, "iter": 40, "step": 40}\n{"cam/mIoU": 1, "step": 60}\n')
    page = tmp_path / 'page.md'
    page.write_text(PAGE)
    plan = tool.read_plan(write_plan(data, tmp_path))
    tool.collect(plan, tmp_path / 'work', tmp_path / 'page')
    (found,) = tool.lines_of(tmp_path / 'page/records.jsonl')
    assert found == {
        **{'run': 'cam', 'seed': 1, 'CAM': 51.235, 'CAM threshold': 0.4, 'segmentation': None},
        **{'labels': 61.5, 'labels IoU': classes(90, 33), 'val MS': 45.0, 'val MS IoU': classes(50, 40)},
        **{'CPU s train': 120.0, 'CPU s label': 7.5, 'MiB': 400, 'images': 2 * CAM_ITERS},
    }
    steps = tool.lines_of(tmp_path / 'page/steps.jsonl')
    assert steps[0]['command'] == 'python tools/train.py c.py --work-dir DIR/cam/1'
    assert len(steps) == 4
    # a resumed training: the later log counts where both have an iteration
    losses = [{'loss': 2.0, 'iter': 20.0}, {'loss': 1.4568, 'iter': 40.0}]
    assert tool.lines_of(tmp_path / 'page/cam_1.jsonl') == losses
