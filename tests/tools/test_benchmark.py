"""tools/benchmark.py: the calls of a plan, what is kept, the record of a call, and what is refused."""

import json
import os
import time
from pathlib import Path

import pytest
import yaml
from colour_net import make_data
from mmengine.config import Config
from tool_module import load_tool
from two_stages import CAM_ITERS, SEG_ITERS, Tools, write_configs

ROOT = Path(__file__).parents[2]
USED = {'wall s': 2.0, 'CPU s': 1.5, 'peak MiB': 100}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_configs(make_data(tmp_path_factory.mktemp('benchmark') / 'data', count=8, side=32))


@pytest.fixture(scope='module')
def tool():
    return load_tool('benchmark.py')


@pytest.fixture
def tools(tool, monkeypatch):
    tools = Tools()
    monkeypatch.setattr(tool, 'call', lambda *call: tools(*call) or USED)
    return tools


def write_plan(data, **changes):
    """A plan of two stages: labels of one seed, second stages of two seeds."""
    runs = {
        'seg': {'config': str(data / 'seg.py'), 'masks': 'cam', 'tests': ['val'], 'seeds': [0, 1], 'options': ['a=2']},
        'cam': {'config': str(data / 'cam.py'), 'labels': ['--threshold', '0.3'], 'tests': ['train']},
    }
    for name, values in changes.items():
        runs[name] = runs.get(name, {}) | values
    plan = {'data_root': str(data), 'train': 'train.txt', 'ground_truth': 'masks', 'runs': runs}
    path = data / 'plan.yml'
    path.write_text(yaml.safe_dump(plan, sort_keys=False))
    return path


def test_a_run_comes_after_its_labels_and_nothing_is_done_twice(tool, tools, data, tmp_path):
    command = [str(write_plan(data)), '--work-dir', str(tmp_path)]
    tool.main(command)
    cam, seg = str(data / 'cam.py'), str(data / 'seg.py')
    folder = {(name, seed): tmp_path / name / str(seed) for name, seed in (('cam', 0), ('seg', 0), ('seg', 1))}
    labels, last = folder['cam', 0] / 'labels', folder['cam', 0] / f'iter_{CAM_ITERS}.pth'
    masks = ['--cfg-options', 'a=2', f'train_dataloader.dataset.mask_dir={labels}/SegmentationClass']
    on_train = ['--cfg-options', 'test_dataloader.dataset.ann_file=train.txt']
    ground_truth = [data / 'masks', '--split', data / 'train.txt']
    expected = [
        ['train.py', cam, '--work-dir', folder['cam', 0], '--resume', '--seed', 0],
        ['test.py', cam, last, '--work-dir', folder['cam', 0] / 'train', *on_train],
        ['make_pseudo_labels.py', cam, last, '--images', 'train', '--threshold', '0.3', '--out', labels],
        ['analysis_tools/mask_iou.py', labels, *ground_truth],
    ]
    for seed in (0, 1):
        place = ['--work-dir', folder['seg', seed]]
        tested = ['test.py', seg, folder['seg', seed] / f'iter_{SEG_ITERS}.pth', *place]
        expected.append(['train.py', seg, *place, '--resume', '--seed', seed, *masks])
        expected += [[*tested, *flags, '--cfg-options', 'a=2'] for flags in ([], ['--tta'], ['--tta', '--crf'])]
    assert tools.calls == [[str(one) for one in call] for call in expected]

    tools.calls.clear()
    tool.main(command)
    assert tools.calls == []
    assert [json.loads(line)['seed'] for line in (folder['seg', 1] / 'steps.jsonl').open()] == [1] * 4


def test_labels_of_a_trained_network_anew_and_combined_ones(tool, tools, data, tmp_path):
    cam, seg = str(data / 'cam.py'), str(data / 'seg.py')
    refined = {'config': cam, 'network': 'cam', 'labels': ['--refine', 'affinity']}
    both = {'combine': ['cam', 'refined'], 'labels': ['--mean']}
    plan = write_plan(data, refined=refined, both=both, seg={'masks': 'both', 'seeds': [1], 'tests': []})
    tool.main([str(plan), 'seg', '--work-dir', str(tmp_path)])
    first, second, third = (tmp_path / name / '0/labels' for name in ('cam', 'refined', 'both'))
    last = str(tmp_path / f'cam/0/iter_{CAM_ITERS}.pth')
    calls = [one for one in tools.calls if one[0] not in ('test.py', 'analysis_tools/mask_iou.py')]
    assert [one[0] for one in calls] == [
        'train.py',
        *['make_pseudo_labels.py'] * 2,
        'combine_pseudo_labels.py',
        'train.py',
    ]
    assert calls[2][1:] == [cam, last, '--images', 'train', '--refine', 'affinity', '--out', str(second)]
    assert calls[3][1:] == [str(first), str(second), '--mean', '--out', str(third)]
    assert calls[4][1] == seg
    assert calls[4][-1] == f'train_dataloader.dataset.mask_dir={third}/SegmentationClass'
    assert len([one for one in tools.calls if 'mask_iou' in one[0]]) == 3
    tools.calls.clear()
    tool.main([str(plan), 'seg', '--work-dir', str(tmp_path)])
    assert tools.calls == []


def test_runs_and_seeds_of_the_command_line_and_local_weights(tool, tools, data, tmp_path):
    cfg = Config.fromfile(data / 'seg.py')
    deit = 'https://dl.fbaipublicfiles.com/deit/deit_tiny_patch16_224-a1311bcf.pth'
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=deit)
    cfg.dump(data / 'with_weights.py')
    plan = write_plan(data, seg={'config': str(data / 'with_weights.py')}, other={'config': str(data / 'cam.py')})
    tool.main([str(plan), 'seg', '--seeds', '1', '--work-dir', str(tmp_path), '--weights', 'deit_tiny=w.pth', 'a=b'])
    assert {one.parent.name for one in tmp_path.glob('*/*')} == {'cam', 'seg'}
    assert [one.name for one in tmp_path.glob('seg/*')] == ['1']
    weights = 'model.backbone.init_cfg.checkpoint=w.pth'
    assert [weights in call for call in tools.calls] == [False] * 4 + [True] * 4


def test_what_a_step_took(tool, tmp_path, monkeypatch):
    busy = tmp_path / 'busy.py'
    busy.write_text(
        'import time\nx = bytearray(b"1") * (300 << 20)\nend = time.process_time() + 1\n'
        'while time.process_time() < end: pass\ntime.sleep(1)\n'
    )
    monkeypatch.setattr('run_two_stage.TOOLS', tmp_path)
    start = time.process_time()
    tool.recorded(tmp_path / 'new/steps.jsonl', {'run': 'a', 'seed': 3}, 'busy.py', '--name', 'two words')
    (line,) = map(json.loads, (tmp_path / 'new/steps.jsonl').open())
    assert line['run'] == 'a'
    assert line['seed'] == 3
    assert line['command'] == "python tools/busy.py --name 'two words'"
    assert 1 <= line['CPU s'] < line['wall s'], 'one second of work, one of sleep'
    assert line['wall s'] >= 2 > time.process_time() - start
    assert 300 <= line['peak MiB'] < 400
    assert len(line['commit']) == 7


def test_a_step_that_fails_leaves_no_line_and_names_its_command(tool, tmp_path, monkeypatch):
    (tmp_path / 'bad.py').write_text('raise SystemExit(3)')
    monkeypatch.setattr('run_two_stage.TOOLS', tmp_path)
    with pytest.raises(SystemExit, match=r'error: exit status 3 of\n  \S+ \S+bad.py -x\n'):
        tool.recorded(tmp_path / 'steps.jsonl', {}, 'bad.py', '-x')
    assert not (tmp_path / 'steps.jsonl').exists()


def test_labels_older_than_the_checkpoint_are_looked_at_again(tool, tools, data, tmp_path):
    command = [str(write_plan(data)), 'cam', '--work-dir', str(tmp_path)]
    tool.main(command)
    os.utime(tmp_path / 'cam/0/labels/report.json', (0, 0))
    tools.calls.clear()
    tool.main(command)
    assert [one[0] for one in tools.calls] == ['make_pseudo_labels.py', 'analysis_tools/mask_iou.py']


@pytest.mark.parametrize(
    ('changes', 'options', 'message'),
    [
        (dict(seg={'mask': 'cam'}), [], 'run seg: there is no key mask, only '),
        (dict(seg={'masks': 'seg'}), [], 'run seg: seg is no run with labels'),
        (dict(both={'combine': ['cam', 'seg']}), [], 'run both: seg is no run with labels'),
        (dict(seg={'network': 'no'}), [], 'run seg: network: there is no run no'),
        (dict(cam={'config': 'no.py'}), [], 'run cam: there is no config no.py'),
        ({}, ['nothing'], 'has no run nothing, only seg, cam'),
    ],
)
def test_plans_that_cannot_be(tool, tools, data, tmp_path, changes, options, message):
    with pytest.raises(SystemExit, match=message):
        tool.main([str(write_plan(data, **changes)), *options, '--work-dir', str(tmp_path)])
    assert tools.calls == []


def test_the_shipped_plan_fits_its_configs(tool, monkeypatch):
    """Every option is one of its config, and a shortened training is so with its schedule."""
    monkeypatch.chdir(ROOT)
    plan = tool.read_plan(Path('benchmarks/animals.yml'))
    for name, run in plan['runs'].items():
        if 'combine' in run:
            continue
        cfg = tool.Stage(Path(run['config']), run['options'], Path('unused')).cfg
        given = Config.fromfile(run['config'])
        for option in run['options']:
            key = option.split('=')[0]
            if key.startswith('model.') and not key.startswith('model.backbone'):
                value = given
                for part in key.split('.'):
                    assert part in value, f'{name}: {key} is not in the config'
                    value = value[part]
        if 'train_cfg' in cfg:
            assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters, name
            assert all(start < cfg.train_cfg.max_iters for start in cfg.model.get('starts', {}).values()), name
    trained = {'toco', 'weaktr', 'weaktr-seg', 'fully', 'clip-seg'}
    assert {name for name, run in plan['runs'].items() if run['seeds'] == [0, 1, 2]} >= trained
