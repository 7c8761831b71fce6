"""tools/run_two_stage.py with tiny networks on tiny images: from nothing, killed, continued, complete."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from colour_net import CLASSES, make_data
from mmengine.config import Config
from tiny_toco import fcn_head, tiny_config
from tiny_weaktr import weaktr_config
from tool_module import load_tool

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'run_two_stage.py'
CAM_ITERS, SEG_ITERS = 60, 2


def loader(dataset, *, train):
    sampler = {'type': 'InfiniteSampler', 'shuffle': True} if train else {'type': 'DefaultSampler', 'shuffle': False}
    return {'batch_size': 2 if train else 1, 'num_workers': 0, 'sampler': sampler, 'dataset': dataset}


def write_configs(root):
    """``cam.py``, ``seg.py`` and ``fully.py`` for the images of ``make_data``."""
    images = {'data_root': str(root), 'classes': CLASSES}
    tagged = {'type': 'ImageTagDataset', 'image_labels': {'type': 'TagFile', 'path': 'tags.json'}, **images}
    load = [{'type': 'LoadImage'}, {'type': 'LoadMask'}]
    resize, pack = {'type': 'Resize', 'scale': (32, 32)}, {'type': 'PackWSSSInputs'}
    prefix = {'img_path': 'images', 'seg_map_path': 'masks'}
    val = {**tagged, 'ann_file': 'val.txt', 'data_prefix': prefix, 'pipeline': [*load, pack], 'test_mode': True}
    flips = [{'type': 'RandomFlip', 'prob': 0.0}, {'type': 'RandomFlip', 'prob': 1.0}]
    shared = {
        'default_scope': 'mmseg',
        'custom_imports': {'imports': ['mmseg_wsss'], 'allow_failed_imports': False},
        'test_dataloader': loader(val, train=False),
        'test_evaluator': {'type': 'CAMIoUMetric'},
        'test_cfg': {},
        'optim_wrapper': {'optimizer': {'type': 'AdamW', 'lr': 1e-3}},
        'log_processor': {'by_epoch': False},
        'tta_model': {'type': 'MeanSoftmaxTTA'},
        'tta_pipeline': [load[0], {'type': 'TestTimeAug', 'transforms': [flips, [load[1]], [pack]]}],
    }
    labelled = {**tagged, 'ann_file': 'train.txt', 'data_prefix': {'img_path': 'images'}}
    backbone = tiny_config()['backbone'] | {'out_indices': (3,)}
    clipped = {'type': 'GradientClippedCrossEntropy', 'patch_size': 8}
    seg_model = {
        'type': 'OnlineRetraining',
        'data_preprocessor': {'type': 'SegDataPreProcessor', 'size': (32, 32), 'test_cfg': {'size_divisor': 8}},
        'backbone': backbone,
        'decode_head': {**fcn_head(), 'in_index': 0, 'loss_decode': clipped},
        'test_cfg': {'mode': 'whole'},
    }
    masked = {'type': 'PseudoMaskDataset', **images, 'ann_file': 'train.txt', 'data_prefix': {'img_path': 'images'}}
    stages = {
        'cam': (weaktr_config(), labelled, [load[0], resize, pack], CAM_ITERS),
        'seg': (seg_model, masked | {'mask_dir': ''}, [*load, resize, pack], SEG_ITERS),
        'fully': (seg_model, masked | {'mask_dir': str(root / 'masks')}, [*load, resize, pack], SEG_ITERS),
    }
    for name, (model, dataset, pipeline, iters) in stages.items():
        training = {
            'model': model,
            'train_dataloader': loader({**dataset, 'pipeline': pipeline}, train=True),
            'train_cfg': {'type': 'IterBasedTrainLoop', 'max_iters': iters},
            'default_hooks': {'checkpoint': {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 5}},
        }
        Config({**shared, **training}).dump(root / f'{name}.py')
    return root


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


class Tools:
    """Stands for the tools: records the calls, leaves what they would leave."""

    def __init__(self):
        self.calls = []

    def __call__(self, tool, *arguments):
        arguments = [str(one) for one in arguments]
        self.calls.append([tool, *arguments])
        if tool == 'make_pseudo_labels.py':
            out = Path(arguments[arguments.index('--out') + 1])
            out.mkdir()
            for name, content in (('manifest', {'found': {}}), ('report', {})):
                (out / f'{name}.json').write_text(json.dumps(content))
        elif tool.endswith('mask_iou.py'):
            (Path(arguments[0]) / 'iou.json').write_text('{"mIoU": 55.5}')
        elif tool == 'train.py':
            folder = Path(arguments[arguments.index('--work-dir') + 1])
            folder.mkdir(parents=True)
            iters = Config.fromfile(arguments[0]).train_cfg.max_iters
            (folder / f'iter_{iters}.pth').touch()
            (folder / 'last_checkpoint').write_text(f'/elsewhere/iter_{iters}.pth')
        else:
            folder = Path(arguments[arguments.index('--work-dir') + 1])
            flags = ''.join(one.replace('--', '_') for one in arguments if one in ('--tta', '--crf'))
            metrics = (
                {'cam/mIoU': 40.04} if folder.name == 'cam' else {'seg/mIoU': {'seg': 50, 'fully': 80}[folder.name]}
            )
            (folder / f'test{flags}.json').write_text(json.dumps({'metrics': metrics}))


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
