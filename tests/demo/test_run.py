"""The demo's command: its configs, commands and table, the folders it accepts; those that do not fit are named."""

import json
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from demo import run, scenes, voc  # noqa: E402


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    monkeypatch.chdir(ROOT)


def config_of(name, out, *options, layout=None):
    args = run.parse_args(['--out', str(out), *options])
    return Config.fromfile(run.write_config(name, args, layout))


class Calls(list):
    """Stands for the commands: records the tools, leaves what they would leave."""

    def __call__(self, title, log, *command):
        command = [str(one) for one in command]
        tool = next(one for one in command if one.startswith('tools/'))
        self.append((title, Path(tool).name, command))
        folder = Path(command[command.index('--work-dir') + 1]) if '--work-dir' in command else Path(log).parent
        folder.mkdir(parents=True, exist_ok=True)
        if 'train.py' in tool:
            (folder / 'iter_10.pth').touch()
            (folder / 'last_checkpoint').write_text('iter_10.pth')
        elif 'test.py' in tool:
            name = 'test_tta_crf' if '--crf' in command else 'test'
            metrics = {'cam/mIoU': 30.04, 'seg/mIoU': 58.0 if '--crf' in command else 55.0}
            (folder / f'{name}.json').write_text(json.dumps({'metrics': metrics}))
        elif 'run_two_stage' in tool:
            for stage in ('cam', 'seg'):
                (folder / stage).mkdir()
                (folder / stage / 'iter_10.pth').touch()
                (folder / stage / 'last_checkpoint').write_text('iter_10.pth')
            (folder / 'README.md').write_text('the table')
            (folder / 'labels').mkdir()
            (folder / 'labels/manifest.json').write_text(json.dumps({'found': {'threshold': 0.31}}))
        else:
            Path(command[command.index('--out') + 1]).touch()


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Records the commands; the scenes are some names."""
    home = tmp_path / 'scenes'
    (home / 'ImageSets/Segmentation').mkdir(parents=True)
    (home / 'ImageSets/Segmentation/train.txt').write_text('\n'.join(map(str, range(120))))
    monkeypatch.setattr(scenes, 'HOME', home)
    calls = Calls()
    monkeypatch.setattr(run, 'call', calls)
    return calls


@pytest.mark.slow
def test_the_classifier_and_toco_are_trained_and_tested_once(calls, tmp_path, capsys):
    arguments = ['--out', str(tmp_path / 'out'), '--iters', '10', '--seed', '4']
    run.main(arguments)
    of = {name: [tool for title, tool, _ in calls if title == name] for name in ('toco', 'classifier')}
    assert of == {
        'toco': ['train.py', 'test.py', 'test.py', 'report.py'],
        'classifier': ['train.py', 'test.py'],
    }
    train = next(command for title, _, command in calls if title == 'toco')
    out = tmp_path / 'out'
    assert train[2:] == [
        'tools/train.py',
        *map(str, (out / 'toco.py', '--work-dir', out / 'toco', '--resume', '--seed', 4)),
    ]
    assert '| segmentation, multi-scale + CRF | - | 58.0 |' in (out / 'README.md').read_text()
    done = len(calls)
    run.main(arguments)
    assert len(calls) == done, 'nothing is left to do'
    run.main([*arguments, '--full'])
    assert [title for title, *_ in calls[done:]] == ['toco_reg'] * 3
    assert '| mIoU in % | classifier | ToCo | ToCo + dense energy |' in capsys.readouterr().out


def test_weaktr_is_the_tool_of_two_stages(calls, tmp_path):
    out = tmp_path / 'out'
    run.main(['--out', str(out), '--iters', '10', '--method', 'weaktr'])
    assert [tool for _, tool, _ in calls] == ['run_two_stage.py', 'report.py']
    assert calls[1][2][1:] == [str(out), '--out', str(out / 'report.html'), '--refine', 'crf-labels']
    configs = [str(out / 'cam.py'), str(out / 'seg.py')]
    sweep = ['--sweep-split', str(out / 'sweep.txt')]
    assert calls[0][2][1:] == [*configs, '--work-dir', str(out), '--seed', '0', *sweep]
    assert len((out / 'sweep.txt').read_text().split()) == 100


def test_a_failing_command_is_named_with_the_end_of_its_log(tmp_path, capsys):
    with pytest.raises(SystemExit, match=r'error: exit status 1 of\n  \S+ -c .*no disk'):
        run.call('train', tmp_path / 'log', '-c', 'print("Iter(train) [1/2] eta: 0:01"); raise SystemExit("no disk")')
    shown = capsys.readouterr()
    assert 'train: Iter(train) [1/2] eta: 0:01' in shown.out
    assert shown.err.rstrip().endswith('no disk')


def test_shorter_schedule_scales_everything_that_counts_iterations(tmp_path):
    whole = config_of('toco', tmp_path)
    short = config_of('toco', tmp_path, '--iters', str(whole.train_cfg.max_iters // 2))
    assert short.train_cfg.max_iters == whole.train_cfg.max_iters // 2
    assert short.model.starts == {name: start // 2 for name, start in whole.model.starts.items()}
    assert [s.end for s in short.param_scheduler] == [s.end // 2 for s in whole.param_scheduler]
    assert short.train_cfg.val_begin > short.train_cfg.max_iters, 'the test comes right after the training'


def test_baseline_has_the_same_backbone_data_and_schedule(tmp_path):
    baseline, whole, energy = (config_of(name, tmp_path) for name in ('classifier', 'toco', 'toco_reg'))
    assert (whole.model.loss_reg, energy.model.loss_reg.type) == (None, 'DenseEnergyLoss')
    whole.model.pop('loss_reg'), energy.model.pop('loss_reg')
    assert energy.to_dict() == whole.to_dict()
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'test_dataloader', 'default_hooks'):
        assert baseline[key] == whole[key], key
    assert baseline.model.backbone == whole.model.backbone
    assert baseline.model.cam_head == whole.model.cam_head
    first, second = (cfg.train_dataloader.dataset.pipeline[1] for cfg in (baseline, whole))
    assert (first.geometry, first.img) == (second.geometry, second.img)
    absent = {name for name, part in baseline.model.items() if part is None}
    assert absent == {'projector', 'loss_ptc', 'loss_ctc', 'refiner', 'loss_reg'}


def _voc(root, *, names=('train_aug', 'val'), folders=('JPEGImages', 'SegmentationClassAug')):
    for folder in (*folders, 'ImageSets/Segmentation'):
        (root / folder).mkdir(parents=True)
    for name in names:
        (root / f'ImageSets/Segmentation/{name}.txt').write_text('a\n')
    return root


def test_voc_layout_below_a_devkit(tmp_path):
    root = _voc(tmp_path / 'VOC2012')
    found = voc.find(tmp_path)
    assert found.root == root.resolve()
    assert (found.train, found.val) == ('ImageSets/Segmentation/train_aug.txt', 'ImageSets/Segmentation/val.txt')
    assert len(found.classes) == 20
    assert found.classes[7] == 'cat'
    assert found.labels == {'type': 'MaskFolder', 'root': 'SegmentationClassAug'}
    (root / 'Annotations').mkdir()
    assert voc.find(tmp_path).labels == {'type': 'VOCXML', 'root': 'Annotations'}
    (root / 'image_labels.json').write_text('{}')
    assert voc.find(tmp_path).labels == {'type': 'TagFile', 'path': 'image_labels.json'}


def test_voc_subset(tmp_path):
    root = _voc(tmp_path, names=('pets_train', 'pets_val'), folders=('JPEGImages', 'SegmentationClassPets'))
    (root / 'image_labels_pets.json').write_text('{"a": ["dog", "cat"], "b": ["cat"]}')
    found = voc.find(root)
    assert found.classes == ('cat', 'dog')
    assert found.train == 'ImageSets/Segmentation/pets_train.txt'
    assert found.masks == 'SegmentationClassPets'
    config = config_of('toco', tmp_path / 'out', '--data', str(root), layout=found)
    assert config.model.num_classes == 2
    assert config.train_dataloader.dataset.image_labels == {'type': 'TagFile', 'path': 'image_labels_pets.json'}
    assert config.test_dataloader.dataset.data_prefix.seg_map_path == 'SegmentationClassPets'


def test_what_is_missing_is_named(tmp_path, capsys):
    with pytest.raises(voc.DataError, match=r'no folder JPEGImages in .*VOC2012'):
        voc.find(tmp_path)
    _voc(tmp_path, names=('train',))
    with pytest.raises(voc.DataError, match=r'there is no ImageSets/Segmentation/val\.txt'):
        voc.find(tmp_path)
    (tmp_path / 'ImageSets/Segmentation/val.txt').write_text('a\n')
    with pytest.raises(SystemExit):
        run.parse_args(['--data', str(tmp_path), '--weights', 'nothing.pth'])
    assert '--weights nothing.pth is neither a file nor a URL' in capsys.readouterr().err


def test_weaktr_on_a_folder_of_photos(tmp_path):
    root = _voc(tmp_path, names=('pets_train', 'pets_val'), folders=('JPEGImages', 'SegmentationClassPets'))
    (root / 'image_labels_pets.json').write_text('{"a": ["dog", "cat"], "b": ["cat"]}')
    (root / 'vit.pth').touch()
    options = ['--data', str(root), '--weights', str(root / 'vit.pth'), '--iters', '100']
    cam, seg = (config_of(stage, tmp_path / 'out', *options, layout=voc.find(root)) for stage in ('cam', 'seg'))
    assert cam.model.num_classes == 2
    assert seg.model.decode_head.num_classes == 3
    assert seg.train_dataloader.dataset.ann_file == 'ImageSets/Segmentation/pets_train.txt'
    assert seg.train_dataloader.dataset.data_prefix.ground_truth_path is None
    assert seg.test_dataloader.dataset.data_prefix.seg_map_path == 'SegmentationClassPets'
    assert all(cfg.model.backbone.init_cfg.checkpoint == str(root / 'vit.pth') for cfg in (cam, seg))
    assert (cam.train_cfg.max_iters, seg.train_cfg.max_iters) == (100, 100)
