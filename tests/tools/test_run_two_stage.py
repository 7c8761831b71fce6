"""tools/run_two_stage.py with tiny networks on tiny images: from nothing, killed, continued, complete."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from colour_net import make_data
from mmengine.config import Config
from tool_module import load_tool
from two_stages import CAM_ITERS, Tools, write_configs

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'run_two_stage.py'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_configs(make_data(tmp_path_factory.mktemp('weaktr') / 'data', count=8, side=32))


@pytest.fixture(scope='module')
def tool():
    return load_tool('run_two_stage.py')


def stop_in_the_middle(command, checkpoint):
    """Start the command and kill it with all it started as soon as the checkpoint is there."""
    environment = dict(os.environ, PYTHONPATH=f'{ROOT}:{ROOT / "tests"}')
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, env=environment)
    deadline = time.monotonic() + 400
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    assert checkpoint.exists()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def commands(shown):
    """The tools that were called, by the lines that show the commands."""
    return [Path(line.split()[2]).name for line in shown.splitlines() if line.startswith('$ ')]


TESTS = ['test.py'] * 3


@pytest.mark.slow
def test_from_nothing_killed_continued_and_complete(tool, data, tmp_path, capfd):
    pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')
    out = tmp_path / 'out'
    arguments = [*map(str, (data / 'cam.py', data / 'seg.py')), '--work-dir', str(out), '--sweep-split', 'val.txt']
    arguments += ['--seg-options', 'optim_wrapper.optimizer.lr=0.002']
    # the second checkpoint: only after the first is whole does `last_checkpoint` name it
    stop_in_the_middle([sys.executable, str(TOOL), *arguments], out / 'cam/iter_10.pth')
    assert not (out / f'cam/iter_{CAM_ITERS}.pth').exists(), 'killed in the middle'

    tool.main(arguments)
    shown = capfd.readouterr().out
    assert 'resumed epoch: 0, iter: ' in shown
    order = ['train.py', 'test.py', 'make_pseudo_labels.py', 'train.py', *TESTS]
    assert commands(shown) == order
    masks = sorted(path.relative_to(out).as_posix() for path in out.glob('labels/SegmentationClass/*/*.png'))
    assert masks == [f'labels/SegmentationClass/{name}.png' for name in ('a/0', 'a/2', 'b/1', 'b/3')]
    assert json.loads((out / 'labels/manifest.json').read_text())['settings']['refine'].startswith('LabelCRF')
    assert f'train_dataloader.dataset.mask_dir={out}/labels/SegmentationClass' in shown
    assert Config.fromfile(out / 'seg/seg.py').optim_wrapper.optimizer.lr == 0.002
    numbers = json.loads((out / 'seg/test_tta_crf.json').read_text())['metrics']
    table = (out / 'README.md').read_text()
    assert f'| segmentation, multi-scale + CRF | {numbers["seg/mIoU"]:.1f} |  |' in table
    assert '| CAM, images of the sweep | ' in table

    before = {path: path.stat().st_mtime_ns for path in out.rglob('[!.]*') if path.name != 'README.md'}
    tool.main(arguments)
    assert commands(capfd.readouterr().out) == ['make_pseudo_labels.py'], 'which looks for itself what is left'
    assert {path: path.stat().st_mtime_ns for path in out.rglob('[!.]*') if path.name != 'README.md'} == before


@pytest.fixture
def tools(tool, monkeypatch):
    tools = Tools()
    monkeypatch.setattr(tool, 'call', tools)
    monkeypatch.setattr(tool.MODELS, 'build', lambda _: None)  # the CRF, an extra
    return tools


def test_options_reach_the_stages_and_the_table(tool, tools, data, tmp_path):
    cfg = Config.fromfile(data / 'seg.py')
    cfg.train_dataloader.dataset.data_prefix.ground_truth_path = 'masks'
    cfg.dump(data / 'seg_compared.py')
    cam, seg, fully = (data / f'{name}.py' for name in ('cam', 'seg_compared', 'fully'))
    command = [cam, seg, '--fully', fully, '--work-dir', tmp_path, '--threshold', 0.3, '--seed', 7, '--workers', 2]
    options = ['--cam-options', 'a=1', '--seg-options', 'b=2', 'c=3', '--fully-options', 'd=4']
    tool.main([*map(str, command), *options])
    checkpoint = f'{tmp_path}/cam/iter_{CAM_ITERS}.pth'
    label = ['--out', f'{tmp_path}/labels', '--images', 'train', '--refine', 'crf-labels', '--threshold', '0.3']
    masks = f'train_dataloader.dataset.mask_dir={tmp_path}/labels/SegmentationClass'
    assert tools.calls[:5] == [
        ['train.py', str(cam), '--work-dir', f'{tmp_path}/cam', '--resume', '--seed', '7', '--cfg-options', 'a=1'],
        ['test.py', str(cam), checkpoint, '--work-dir', f'{tmp_path}/cam', '--cfg-options', 'a=1'],
        ['make_pseudo_labels.py', str(cam), checkpoint, *label, '--workers', '2', '--cfg-options', 'a=1'],
        [
            'analysis_tools/mask_iou.py',
            *map(str, (tmp_path / 'labels', data / 'masks', '--split', data / 'train.txt')),
        ],
        [
            'train.py',
            *map(str, (seg, '--work-dir', tmp_path / 'seg', '--resume', '--seed', 7)),
            *('--cfg-options', 'b=2', 'c=3', masks),
        ],
    ]
    rest = [one[0] for one in tools.calls[5:]]
    assert rest == [*TESTS, 'train.py', *TESTS]
    assert tools.calls[8][-2:] == ['--cfg-options', 'd=4'], 'the counterpart needs no labels'
    assert (tmp_path / 'README.md').read_text().splitlines()[:8] == [
        '| mIoU in % | two stages | fully supervised counterpart (share of it) |',
        '|---|--:|--:|',
        '| first stage, cam/mIoU | 40.0 |  |',
        '| pseudo-labels | 55.5 |  |',
        '| segmentation, single scale | 50.0 | 80.0 (62.5 %) |',
        '| segmentation, multi-scale | 50.0 | 80.0 (62.5 %) |',
        '| segmentation, multi-scale + CRF | 50.0 | 80.0 (62.5 %) |',
        '',
    ]


def test_the_first_stage_may_be_any_segmentation_and_the_second_any_dataset_of_masks(tool, tools, data, tmp_path):
    cfg = Config.fromfile(data / 'seg.py')
    cfg.train_dataloader.dataset.pop('mask_dir')
    cfg.tta_model = None
    cfg.dump(data / 'plain.py')
    tool.main([str(data / 'fully.py'), str(data / 'plain.py'), '--work-dir', str(tmp_path), '--refine', 'none'])
    label = next(one for one in tools.calls if one[0] == 'make_pseudo_labels.py')
    assert not {'--sweep', '--threshold'} & set(label), 'a segmentation has its own background'
    train = [one for one in tools.calls if one[0] == 'train.py'][1]
    assert train[-1] == f'train_dataloader.dataset.data_prefix.seg_map_path={tmp_path}/labels/SegmentationClass'
    assert [one[0] for one in tools.calls].count('test.py') == 2, 'no tests at several scales without tta_model'


def test_a_first_stage_without_training_only_labels(tool, tools, data, tmp_path):
    cfg = Config.fromfile(data / 'cam.py')
    cfg.model.type = 'CLIPCAM'
    cfg.dump(data / 'clip.py')
    cam, seg = str(data / 'clip.py'), str(data / 'seg.py')
    tool.main([cam, seg, '--work-dir', str(tmp_path), '--threshold', '0.5', '--refine', 'affinity+crf'])
    assert tools.calls[0] == ['test.py', cam, '--work-dir', f'{tmp_path}/cam']
    assert tools.calls[1][:4] == ['make_pseudo_labels.py', cam, '--out', f'{tmp_path}/labels']
    assert tools.calls[2][:2] == ['train.py', seg]
    before = len(tools.calls)
    tool.main([cam, seg, '--work-dir', str(tmp_path), '--threshold', '0.5', '--refine', 'affinity+crf'])
    assert [one[0] for one in tools.calls[before:]] == ['make_pseudo_labels.py']


def test_a_config_without_training_images_says_what_to_do(tool, tools, data, tmp_path):
    cfg = Config.fromfile(data / 'cam.py')
    cfg.train_dataloader = None
    cfg.dump(data / 'no_images.py')
    with pytest.raises(SystemExit, match=r'no_images\.py has no train_dataloader: label its images with .*make_pseudo'):
        tool.main([str(data / 'no_images.py'), str(data / 'seg.py'), '--work-dir', str(tmp_path)])


def test_the_first_failure_ends_the_run_and_names_the_command(tool, data, tmp_path):
    pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')
    arguments = [str(data / 'cam.py'), str(data / 'seg.py'), '--work-dir', str(tmp_path), '--threshold', '0.3']
    with pytest.raises(SystemExit, match=r'error: exit status 1 of\n  \S+ \S+train\.py \S+cam\.py .*model\.type=No'):
        tool.main([*arguments, '--cam-options', 'model.type=No', 'model.backbone.depth=1'])
    assert not (tmp_path / 'labels').exists()


def test_stages_that_do_not_belong_together_are_refused_before_anything_starts(tool, tools, data, tmp_path):
    arguments = [str(data / 'cam.py'), str(data / 'seg.py'), '--work-dir', str(tmp_path / 'out')]
    with pytest.raises(SystemExit, match=r"error: the stages have different classes: .*\['red', 'blue', 'green'\]"):
        tool.main([*arguments, '--seg-options', 'train_dataloader.dataset.classes=red,blue,green'])
    for options in (['--images', 'test'], ['--source=seg', '--threshold', '0.3'], ['--cfg-options', 'a=1']):
        with pytest.raises(SystemExit, match=r'not to be given here: --out, --images, --source, .*--cfg-options'):
            tool.main([*arguments, *options])
    assert tools.calls == []


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--threshold', '1'], '--threshold must be in [0, 1), got 1.0'),
        (['--threshold', '0.3', '--sweep-split', 'val.txt'], '--sweep-split needs --sweep'),
        (['--refin', 'par'], 'unrecognized arguments: --refin par'),
        (['--fully', 'no.py'], 'there is no config no.py'),
    ],
)
def test_command_lines_that_cannot_be(tool, tools, data, capsys, options, message):
    with pytest.raises(SystemExit):
        tool.main([str(data / 'cam.py'), str(data / 'seg.py'), '--work-dir', 'out', *options])
    assert message in capsys.readouterr().err
    assert tools.calls == []
