"""The demo's command: its configs, the folders it accepts, the tables it prints; folders that do not fit are named."""

import sys
from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from demo import report, run, toco, voc, weaktr  # noqa: E402
from mmseg_wsss.engine.tool_steps import ToolSteps  # noqa: E402


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    monkeypatch.chdir(ROOT)


def plan(demo):
    tools = ToolSteps(tools=Path('tools'), python=('-m', 'demo.tool'))
    demo.plan(tools)
    return tools.steps


def test_toco_is_the_default():
    assert run.parse_args([]).method == 'toco'
    assert run.parse_args(['--method', 'weaktr']).method == 'weaktr'


def test_steps_of_toco(tmp_path):
    steps = plan(toco.Demo.drawn(tmp_path, 10, seed=4))
    assert [(step.folder.name, step.name) for step in steps] == [
        ('classifier', 'train'),
        ('classifier', 'test'),
        ('toco', 'train'),
        ('toco', 'test'),
        ('toco', 'test_tta_crf'),
        ('toco', 'page'),
        ('toco_reg', 'train'),
        ('toco_reg', 'test'),
        ('toco_reg', 'test_tta_crf'),
    ]
    config, folder = tmp_path / 'toco.py', tmp_path / 'toco'
    training = ['-m', 'demo.tool', 'tools/train.py', config, '--work-dir', folder, '--resume', '--seed', 4]
    assert list(steps[2].command) == [*map(str, training)]
    checkpoint = folder / 'iter_10.pth'
    assert steps[2].results == (checkpoint,)
    test = ['-m', 'demo.tool', 'tools/test.py', config, checkpoint, '--work-dir', folder, '--tta', '--crf']
    assert list(steps[4].command) == [*map(str, test)]
    assert all(step.needs == (steps[2],) for step in steps[3:6])


def test_shorter_schedule_scales_everything_that_counts_iterations(tmp_path):
    whole = Config.fromfile(toco.Demo.drawn(tmp_path / 'a', None).configs['toco'])
    short = Config.fromfile(toco.Demo.drawn(tmp_path / 'b', whole.train_cfg.max_iters // 2).configs['toco'])
    assert short.train_cfg.max_iters == whole.train_cfg.max_iters // 2
    assert short.model.starts == {name: start // 2 for name, start in whole.model.starts.items()}
    assert [s.end for s in short.param_scheduler] == [s.end // 2 for s in whole.param_scheduler]
    assert short.train_cfg.val_interval > short.train_cfg.max_iters


def test_baseline_has_the_same_backbone_data_and_schedule(tmp_path):
    baseline, whole, energy = (Config.fromfile(path) for path in toco.Demo.drawn(tmp_path, None).configs.values())
    assert (whole.model.loss_reg, energy.model.loss_reg.type) == (None, 'DenseEnergyLoss')
    whole.model.pop('loss_reg'), energy.model.pop('loss_reg')
    assert energy.to_dict() == whole.to_dict()
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'val_dataloader', 'default_hooks'):
        assert baseline[key] == whole[key], key
    assert baseline.model.backbone == whole.model.backbone
    assert baseline.model.cam_head == whole.model.cam_head
    first, second = (cfg.train_dataloader.dataset.pipeline[1] for cfg in (baseline, whole))
    assert (first.geometry, first.img) == (second.geometry, second.img)
    assert [name for name, part in baseline.model.items() if part is None] == [
        'projector',
        'loss_ptc',
        'loss_ctc',
        'refiner',
        'loss_reg',
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
    config = Config.fromfile(toco.Demo.real(tmp_path / 'out', str(root), None, 100).configs['toco'])
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
        toco.Demo.real(tmp_path / 'out', str(tmp_path), 'nothing.pth', None)


def test_table_leaves_the_untrained_decoder_out():
    cam = {'cam/mIoU': 30.04, 'cam/best_mIoU': 35.25, 'cam/best_threshold': 0.3, 'seg/mIoU': 2.0}
    other = dict(cam, **{'cam/mIoU': 60.0, 'seg/mIoU': 55.0})
    trained = {'test': other, 'test_tta_crf': {'seg/mIoU': 58.0}}
    numbers = {'classifier': {'test': cam, 'test_tta_crf': {}}, 'toco': trained}
    text = report.table(numbers, 0.5)
    assert text.startswith('| mIoU in % | classifier | ToCo |\n|---|---|---|\n')
    with_energy = report.table({**numbers, 'toco_reg': trained}, 0.5)
    assert '| CAM, threshold 0.5 | 30.0 | 60.0 | 60.0 |' in with_energy
    assert with_energy.startswith('| mIoU in % | classifier | ToCo | ToCo + dense energy |\n|---|---|---|---|\n')
    assert '| CAM, threshold 0.5 | 30.0 | 60.0 |' in text
    assert '| CAM, best threshold | 35.2 (at 0.30) | 35.2 (at 0.30) |' in text
    assert '| aux CAM, threshold 0.5 | - | - |' in text
    assert '| segmentation, single scale | - | 55.0 |' in text
    assert '| segmentation, multi-scale + CRF | - | 58.0 |' in text


def test_steps_of_weaktr(tmp_path, monkeypatch):
    lists = tmp_path / 'work_dirs/demo/data/ImageSets/Segmentation'  # of the scenes, which are not drawn here
    lists.mkdir(parents=True)
    for split in ('train', 'val'):
        (lists / f'{split}.txt').write_text('\n'.join(f'{split}_{number}' for number in range(120)))
    monkeypatch.chdir(tmp_path)
    demo = weaktr.Demo.drawn(tmp_path, 10)
    steps = plan(demo)
    assert [(step.folder.name, step.name) for step in steps] == [
        ('cam', 'train'),
        ('cam', 'test'),
        ('labels', 'labels'),
        ('labels', 'iou'),
        ('seg', 'train'),
        ('seg', 'test'),
        ('seg', 'test_tta'),
        ('seg', 'test_tta_crf'),
        ('coarse', 'test'),
        ('seg', 'page'),
    ]
    assert len((tmp_path / 'sweep.txt').read_text().split()) == 100
    short, whole = (Config.fromfile(path) for path in (tmp_path / 'cam.py', weaktr.DRAWN['cam']))
    assert [(one.begin, one.end) for one in short.param_scheduler] == [
        (one.begin * 10 // whole.train_cfg.max_iters, max(1, one.end * 10 // whole.train_cfg.max_iters))
        for one in whole.param_scheduler
    ]


def test_weaktr_on_a_folder_of_photos(tmp_path):
    root = _voc(tmp_path, names=('pets_train', 'pets_val'), folders=('JPEGImages', 'SegmentationClassPets'))
    (root / 'image_labels_pets.json').write_text('{"a": ["dog", "cat"], "b": ["cat"]}')
    (root / 'vit.pth').touch()
    demo = weaktr.Demo.real(tmp_path / 'out', str(root), str(root / 'vit.pth'), 100)
    cam, seg = (Config.fromfile(path) for path in (demo.run.cam_config, demo.run.seg_config))
    assert (cam.model.cam_head.num_classes, cam.model.backbone.num_cls_tokens) == (2, 2)
    assert seg.model.decode_head.num_classes == 3
    assert seg.train_dataloader.dataset.ann_file == 'ImageSets/Segmentation/pets_train.txt'
    assert seg.train_dataloader.dataset.data_prefix.truth_path is None
    assert seg.val_dataloader.dataset.data_prefix.seg_map_path == 'SegmentationClassPets'
    assert all(cfg.model.backbone.init_cfg.checkpoint == str(root / 'vit.pth') for cfg in (cam, seg))
    assert (cam.train_cfg.max_iters, seg.train_cfg.max_iters) == (100, 100)
    assert demo.run.threshold == cam.model.threshold, 'training photos need no masks'
    with pytest.raises(voc.DataError, match=r'WEIGHTS=nothing\.pth is neither a file nor a URL'):
        weaktr.Demo.real(tmp_path / 'out', str(tmp_path), 'nothing.pth', None)
