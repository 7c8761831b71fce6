"""tools/run_weaktr.py with tiny networks on tiny images: from nothing, killed, continued, complete."""

import importlib.util
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

from mmseg_wsss.engine.steps import Step
from mmseg_wsss.engine.tool_steps import ToolSteps
from mmseg_wsss.engine.weaktr_run import WeakTrRun, table

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'run_weaktr.py'
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
        'test_evaluator': {'type': 'CAMIoUMetric', 'threshold': 0.4},
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
    spec = importlib.util.spec_from_file_location('run_weaktr', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def weaktr_run(data, **changes):
    values = {'cam_config': data / 'cam.py', 'seg_config': data / 'seg.py', 'work_dir': data / 'work'}
    return WeakTrRun(**(values | {'sweep_split': 'val.txt'} | changes))


def stop_in_the_middle(command, checkpoint):
    """Start the command and kill it with all it started as soon as the checkpoint is there."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, env=environment)
    deadline = time.monotonic() + 400
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    assert checkpoint.exists()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_from_nothing_killed_continued_and_complete(tool, data, tmp_path, capsys):
    pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')
    out = tmp_path / 'out'
    arguments = [*map(str, (data / 'cam.py', data / 'seg.py')), '--work-dir', str(out), '--sweep-split', 'val.txt']
    # the second checkpoint: only after the first is whole does `last_checkpoint` name it
    stop_in_the_middle([sys.executable, str(TOOL), *arguments], out / 'cam/iter_10.pth')
    assert not (out / f'cam/iter_{CAM_ITERS}.pth').exists(), 'killed in the middle'

    tool.main(arguments)
    assert f'resumed epoch: 0, iter: {CAM_ITERS}' not in (out / 'cam/train.log').read_text()
    assert 'resumed epoch: 0, iter: ' in (out / 'cam/train.log').read_text()
    shown = capsys.readouterr().out
    assert 'step 7/7: test the second stage, multi-scale and CRF\n  $ python ' in shown
    assert 'complete already' not in shown
    masks = sorted(path.relative_to(out).as_posix() for path in out.glob('labels/SegmentationClass/*/*.png'))
    assert masks == [f'labels/SegmentationClass/{name}.png' for name in ('a/0', 'a/2', 'b/1', 'b/3')]
    assert json.loads((out / 'labels/manifest.json').read_text())['settings']['refine'].startswith('LabelCRF')
    numbers = json.loads((out / 'seg/test_tta_crf.json').read_text())['metrics']
    assert f'| segmentation, multi-scale + CRF | {numbers["seg/mIoU"]:.1f} |  |' in (out / 'README.md').read_text()

    before = {path: path.stat().st_mtime_ns for path in out.rglob('*') if path.name != 'README.md'}
    tool.main(arguments)
    assert capsys.readouterr().out.count('-- complete already') == 7
    assert {path: path.stat().st_mtime_ns for path in out.rglob('*') if path.name != 'README.md'} == before


def test_plan_with_the_twin(data):
    run = weaktr_run(data, fully_config=data / 'fully.py', threshold=0.3, sweep_split=None, seed=7, workers=2)
    tools = ToolSteps(tools=Path('tools'))
    run.plan(tools)
    work = data / 'work'
    names = [(step.folder.relative_to(work).as_posix(), step.name) for step in tools.steps]
    tests = ('train', 'test', 'test_tta', 'test_tta_crf')
    assert names == [
        ('cam', 'train'),
        ('cam', 'test'),
        ('labels', 'labels'),
        *(('seg', name) for name in tests),
        *(('fully', name) for name in tests),
    ]
    checkpoint = work / f'cam/iter_{CAM_ITERS}.pth'
    label = [
        'tools/make_pseudo_labels.py',
        data / 'cam.py',
        checkpoint,
        '--out',
        work / 'labels',
        '--split',
        'train.txt',
    ]
    more = ['--threshold', 0.3, '--refine', 'crf-labels']
    assert list(tools.steps[2].command) == [*map(str, [*label, *more])]
    assert tools.steps[2].extra == ('--workers', '2'), 'as many workers as there are make the same labels'
    train = ['tools/train.py', data / 'seg.py', '--work-dir', work / 'seg', '--resume', '--seed', 7, '--cfg-options']
    masks = f'train_dataloader.dataset.mask_dir={work}/labels/SegmentationClass'
    assert list(tools.steps[3].command) == [*map(str, [*train, masks])]
    assert [step.name for step in tools.steps[3].needs] == ['labels']
    assert tools.steps[7].needs == (), 'the twin needs no labels'


def test_training_images_in_a_folder_of_their_own(data):
    """As COCO has them: the test set's folder does not hold the images to label."""
    cfg = Config.fromfile(data / 'cam.py')
    cfg.train_dataloader.dataset.data_prefix.img_path = 'train_images'
    cfg.dump(data / 'coco.py')
    with pytest.raises(ValueError, match=r'coco\.py: training and test images lie in different folders'):
        weaktr_run(data, cam_config=data / 'coco.py', sweep_split=None)
    tools = ToolSteps(tools=Path('tools'))
    weaktr_run(data, cam_config=data / 'coco.py', sweep_split=None, threshold=0.3).plan(tools)
    assert tools.steps[2].command[5:9] == ('--images', 'train', '--threshold', '0.3')


def test_a_network_that_cannot_be_trained_is_told_before_anything_starts(data):
    cfg = Config.fromfile(data / 'seg.py')
    cfg.model.decode_head.loss_decode.patch_size = 64
    cfg.dump(data / 'large.py')
    with pytest.raises(ValueError, match=r'large\.py: the model cannot be built: .*64, but the training crop is 32x32'):
        weaktr_run(data, seg_config=data / 'large.py')


def test_labels_are_compared_where_the_truth_is_named(data):
    cfg = Config.fromfile(data / 'seg.py')
    cfg.train_dataloader.dataset.data_prefix.truth_path = 'masks'
    cfg.dump(data / 'seg_truth.py')
    tools = ToolSteps(tools=Path('tools'))
    tests = weaktr_run(data, seg_config=data / 'seg_truth.py').plan(tools)
    assert tests['iou'].command == (
        'tools/analysis_tools/mask_iou.py',
        str(data / 'work/labels'),
        str(data / 'masks'),
        '--split',
        str(data / 'train.txt'),
    )
    assert tests['iou'].needs == (tests['labels'],)


def test_table(tmp_path):
    def step(name, content):
        (tmp_path / name).write_text(json.dumps(content))
        return Step(title=name, folder=tmp_path, name=name, command=(), results=(tmp_path / name,))

    tests = {'cam': step('cam', {'metrics': {'cam/mIoU': 40.04, 'cam/best_mIoU': 42.25, 'cam/best_threshold': 0.3}})}
    step('manifest.json', {'found': {'threshold': 0.37, 'mIoU': 51.16, 'images': 100}})
    tests['labels'] = step('labels', {})
    tests['iou'] = step('iou', {'mIoU': 55.5})
    for number, suffix in enumerate(('', '_tta', '_tta_crf')):
        tests[f'seg{suffix}'] = step(f'seg{suffix}', {'metrics': {'seg/mIoU': 50.0 + number}})
        tests[f'fully{suffix}'] = step(f'fully{suffix}', {'metrics': {'seg/mIoU': 80.0}})
    assert table(tests).splitlines() == [
        "| mIoU in % | WeakTr | fully supervised (WeakTr's share) |",
        '|---|--:|--:|',
        '| CAM on the images of the threshold sweep | 51.2 (at 0.37, 100 images) |  |',
        '| CAM | 40.0 |  |',
        '| CAM, best threshold | 42.2 (at 0.30) |  |',
        '| pseudo-labels, training images | 55.5 |  |',
        '| segmentation, single scale | 50.0 | 80.0 (62.5 %) |',
        '| segmentation, multi-scale | 51.0 | 80.0 (63.8 %) |',
        '| segmentation, multi-scale + CRF | 52.0 | 80.0 (65.0 %) |',
    ]


@pytest.mark.parametrize(
    ('stage', 'change', 'message'),
    [
        (
            'cam',
            {'test_dataloader.dataset.classes': ('red', 'blue', 'green')},
            r"cam\.py has the classes \['red', 'blue'",
        ),
        (
            'seg',
            {'train_dataloader.dataset.type': 'ImageTagDataset'},
            r'seg\.py: train_dataloader\.dataset is a ImageTag',
        ),
        (
            'seg',
            {'train_dataloader.dataset.ann_file': 'no.txt'},
            r'the list of images no\.txt is neither below .*data nor',
        ),
        ('seg', {'tta_model': None}, r'seg\.py has no tta_model and tta_pipeline'),
        (
            'cam',
            {'test_dataloader.dataset.data_prefix.seg_map_path': None},
            'no masks to choose the threshold on: set it',
        ),
    ],
)
def test_configs_that_do_not_fit_are_refused_before_anything_starts(tool, data, tmp_path, stage, change, message):
    for name in ('cam', 'seg'):
        cfg = Config.fromfile(data / f'{name}.py')
        if name == stage:
            cfg.merge_from_dict(change)
        cfg.dump(tmp_path / f'{name}.py')
    with pytest.raises(SystemExit, match=f'error: .*{message}'):
        tool.main([str(tmp_path / 'cam.py'), str(tmp_path / 'seg.py'), '--work-dir', str(tmp_path / 'out')])
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--threshold', '1'], '--threshold must be in [0, 1), got 1.0'),
        (['--threshold', '0.3', '--sweep-split', 'val.txt'], '--sweep-split chooses the threshold'),
        (['--fully', 'no.py'], 'there is no config no.py'),
    ],
)
def test_command_lines_that_cannot_be(tool, data, capsys, options, message):
    with pytest.raises(SystemExit):
        tool.parse_args([str(data / 'cam.py'), str(data / 'seg.py'), '--work-dir', 'out', *options])
    assert message in capsys.readouterr().err
