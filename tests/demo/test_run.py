"""The demo's command: what is complete is skipped, what changed is done anew, folders that do not fit are explained."""

import json
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from demo import derive, report, steps, voc  # noqa: E402


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A step whose execution is only counted: the commands that would have run."""
    ran = []
    monkeypatch.setattr(steps, '_execute', lambda step: ran.append(step.name))
    config = tmp_path / 'toy.py'
    config.write_text('a = 1\n')

    def make(name, fresh=False):
        folder = tmp_path / 'toco'
        return steps.Step(title=name, folder=folder, name=name, command=('tools/train.py', str(config)), fresh=fresh)

    return make, ran, config


def test_complete_steps_are_skipped(counted, capsys):
    make, ran, _ = counted
    listed = [make('train', fresh=True), make('test')]
    steps.run(listed)
    steps.run(listed)
    assert ran == ['train', 'test']
    assert 'step 2/2: test -- complete already' in capsys.readouterr().out
    assert steps.seconds(listed) >= 0


def test_interrupted_step_is_run_again_in_its_folder(counted, monkeypatch):
    make, ran, _ = counted
    step = make('train', fresh=True)

    def stop(_):
        (step.folder / 'iter_100.pth').touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(steps, '_execute', stop)
        with pytest.raises(KeyboardInterrupt):
            steps.run([step])
    steps.run([step])
    assert ran == ['train']
    assert (step.folder / 'iter_100.pth').exists()


def test_changed_config_starts_afresh(counted):
    make, ran, config = counted
    listed = [make('train', fresh=True), make('test')]
    steps.run(listed)
    (listed[0].folder / 'iter_100.pth').touch()
    config.write_text('a = 2\n')
    steps.run(listed)
    assert ran == ['train', 'test', 'train', 'test']
    assert not (listed[0].folder / 'iter_100.pth').exists()


def test_failing_command_shows_the_end_of_its_log(tmp_path, capsys):
    (tmp_path / 'fail.py').write_text('print("Iter(train) [1/2] eta: 0")\nraise RuntimeError("no disk")\n')
    command = (str(tmp_path / 'fail.py'), str(tmp_path / 'fail.py'))
    step = steps.Step(title='train', folder=tmp_path / 'out', name='train', command=command)
    with pytest.raises(SystemExit, match=r'"train" failed \(exit status 1\); its log is .*train.log'):
        steps.run([step])
    shown = capsys.readouterr()
    assert 'RuntimeError: no disk' in shown.err
    assert 'Iter(train) [1/2]' in shown.out
    assert 'seconds' not in json.loads(step.state.read_text())


def test_shorter_schedule_scales_everything_that_counts_iterations(tmp_path):
    whole = Config.fromfile(derive.drawn(tmp_path / 'a', None)['toco'])
    short = Config.fromfile(derive.drawn(tmp_path / 'b', whole.train_cfg.max_iters // 2)['toco'])
    assert short.train_cfg.max_iters == whole.train_cfg.max_iters // 2
    assert short.model.seg_start == whole.model.seg_start // 2
    assert [s.end for s in short.param_scheduler] == [s.end // 2 for s in whole.param_scheduler]
    assert short.train_cfg.val_interval > short.train_cfg.max_iters


def test_baseline_has_the_same_backbone_data_and_schedule(tmp_path):
    baseline, toco = (Config.fromfile(path) for path in derive.drawn(tmp_path, None).values())
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'val_dataloader', 'default_hooks'):
        assert baseline[key] == toco[key], key
    assert baseline.model.backbone == toco.model.backbone
    assert baseline.model.cam_head == toco.model.cam_head
    first, second = (cfg.train_dataloader.dataset.pipeline[1] for cfg in (baseline, toco))
    assert (first.geometry, first.img) == (second.geometry, second.img)
    assert [name for name, part in baseline.model.items() if part is None] == [
        'projector',
        'loss_ptc',
        'loss_ctc',
        'refiner',
    ]


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
    config = Config.fromfile(derive.real(tmp_path / 'out', str(root), None, 100)['toco'])
    assert config.model.decode_head.num_classes == 3
    assert config.train_dataloader.dataset.image_labels == {'type': 'TagFile', 'path': 'image_labels_pets.json'}
    assert config.val_dataloader.dataset.data_prefix.seg_map_path == 'SegmentationClassPets'


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(voc.DataError, match=r'no folder JPEGImages in .*VOC2012'):
        voc.find(tmp_path)
    _voc(tmp_path, names=('train',))
    with pytest.raises(voc.DataError, match=r'there is no ImageSets/Segmentation/val\.txt'):
        voc.find(tmp_path)
    (tmp_path / 'ImageSets/Segmentation/val.txt').write_text('a\n')
    with pytest.raises(voc.DataError, match=r'WEIGHTS=nothing\.pth is neither a file nor a URL'):
        derive.real(tmp_path / 'out', str(tmp_path), 'nothing.pth', None)


def test_table_leaves_the_untrained_decoder_out():
    cam = {'cam/mIoU': 30.04, 'cam/best_mIoU': 35.25, 'cam/best_threshold': 0.3, 'seg/mIoU': 2.0}
    toco = dict(cam, **{'cam/mIoU': 60.0, 'seg/mIoU': 55.0})
    text = report.table(
        {'classifier': {'test': cam, 'test_tta_crf': {}}, 'toco': {'test': toco, 'test_tta_crf': {'seg/mIoU': 58.0}}},
        0.5,
    )
    assert '| CAM, threshold 0.5 | 30.0 | 60.0 |' in text
    assert '| CAM, best threshold | 35.2 (at 0.30) | 35.2 (at 0.30) |' in text
    assert '| aux CAM, threshold 0.5 | - | - |' in text
    assert '| segmentation, single scale | - | 55.0 |' in text
    assert '| segmentation, multi-scale + CRF | - | 58.0 |' in text
