"""Every shipped config parses, says what it is, and builds."""

import ast
import copy
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from mmengine import load
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS, OPTIM_WRAPPERS, PARAM_SCHEDULERS, TRANSFORMS

from mmseg_wsss.checkpoints.text_embeddings import write_text_embeddings
from mmseg_wsss.models import CAMSegmentor

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)


@cache
def loaded(path: Path) -> Config:
    return Config.fromfile(path)


# of these there is nothing to train
UNTRAINED = [path for path in CONFIGS if loaded(path).model.type == 'CLIPCAM']
TRAINED = [path for path in CONFIGS if path not in UNTRAINED]
# trained on masks; neither on tags nor by a recipe of ToCo
SECOND_STAGES = [path for path in TRAINED if loaded(path).train_dataloader.dataset.type == 'PseudoMaskDataset']
# with a position embedding of their own size: not with rotary positions, nor the tiny ViT, which keeps its own
WITH_POSITIONS = [
    path for path in SECOND_STAGES if loaded(path).model.backbone.type == 'TokenViT' and 'drawn-scenes' not in path.stem
]


def test_there_are_configs():
    counts = {'clip': 4, 'dupl': 5, 'mctformer': 4, 'more': 3, 'seco': 3, 'toco': 13, 'weaktr': 31}
    assert Counter(path.parent.name for path in CONFIGS) == counts
    assert len(SECOND_STAGES) == 17
    assert {*SECOND_STAGES} - {*WITH_POSITIONS} == {
        ROOT / 'configs/weaktr/weaktr-seg_eva02-s14_1xb4-100e_voc12aug-476x476.py',
        ROOT / 'configs/weaktr/weaktr-seg_vit-demo_drawn-scenes.py',
    }


@pytest.fixture(params=TRAINED, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def cfg(path) -> Config:
    return copy.deepcopy(loaded(path))


def for_all(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize('path', paths, ids=lambda path: path.stem, indirect=True)


@for_all(CONFIGS)
def test_header_says_what_it_reproduces_the_number_the_time_and_the_command(path):
    header = ast.get_docstring(ast.parse(path.read_text())) or ''
    values = {}
    for line in header.splitlines():
        word, colon, value = line.partition(':')
        if colon and word in ('Reproduces', 'Expected', 'Time', 'Command'):
            values[word] = value.strip()
    assert list(values) == ['Reproduces', 'Expected', 'Time', 'Command']
    assert all(values.values()), f'{path.name}: an empty line in the header'
    assert path.name in header or 'make demo' in header, 'the command names this config'


def evaluation_loaders(cfg: Config) -> list:
    """Those that the config has: own photos have no ground truth to validate against."""
    return [loader for loader in (cfg.val_dataloader, cfg.test_dataloader) if loader is not None]


def test_evaluation_keeps_images_without_tags(cfg):
    """ImageTagDataset skips them in training alone, unless ``test_mode`` is missing."""
    for loader in evaluation_loaders(cfg):
        assert (loader.dataset.type, loader.dataset.test_mode) == ('ImageTagDataset', True)


def crop_of(cfg: Config) -> tuple[int, int]:
    """(height, width) of the training images: that of the last transform that cuts."""
    steps = [*cfg.train_dataloader.dataset.pipeline]
    for step in [*steps]:
        steps += step.get('geometry', [])  # of MultiView
    sizes = [step.crop_size for step in steps if 'crop_size' in step]
    sizes += [(step.scale, step.scale) for step in steps if step.type == 'mmpretrain.RandomResizedCrop']
    return tuple(sizes[-1])


def test_model_builds_and_its_parts_fit(cfg):
    init_default_scope(cfg.default_scope)
    crop = crop_of(cfg)
    if cfg.model.data_preprocessor.type == 'SegDataPreProcessor':
        assert tuple(cfg.model.data_preprocessor.size) == crop, 'mmseg stacks training images to this size'
    else:
        assert 'size' not in cfg.model.data_preprocessor, 'the crop is the size'
    classes = cfg.train_dataloader.dataset.classes
    assert all(loader.dataset.classes == classes for loader in evaluation_loaders(cfg))

    model = MODELS.build(cfg.model)
    assert model.num_classes == len(classes) + 1
    if isinstance(model, CAMSegmentor) and model.views:
        views = TRANSFORMS.build(cfg.train_dataloader.dataset.pipeline[1])
        assert {*model.views} == {*views.free, *views.aligned, *views.derived}, (
            'the loss needs these views and no other'
        )
    if hasattr(model, 'local_crop_size'):
        assert model.local_crop_size < min(crop)


@for_all(UNTRAINED)
def test_untrained_models_build_with_embeddings_of_their_names(cfg, tmp_path):
    head, classes = cfg.model.cam_head, cfg.test_dataloader.dataset.classes
    names = [*head.classes, *head.background, *(name for one in head.synonyms.values() for name in one)]
    vectors = np.random.default_rng(0).normal(size=(len(names), 8))
    head.embeddings = str(tmp_path / 'text.npz')
    write_text_embeddings(head.embeddings, dict(zip(names, vectors, strict=True)))
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    assert (tuple(head.classes), model.num_classes) == (tuple(classes), len(classes) + 1)
    assert model.cam_head.text.shape == (len(classes) + len(head.background), 8)
    for step in cfg.test_dataloader.dataset.pipeline:
        TRANSFORMS.build(step)
    assert cfg.test_dataloader.dataset.pipeline == cfg.test_pipeline
    vit = dict(cfg.affinity.backbone, init_cfg=None)
    assert MODELS.build(dict(cfg.affinity, type='FeatureAffinity', backbone=vit)).source == 'features'


@for_all(UNTRAINED)
def test_untrained_models_have_the_published_values(cfg, path):
    """CLIP's own normalisation, norms and activation; CLIP-ES's affinity."""
    vit, norm, own = cfg.model.backbone, cfg.model.data_preprocessor, cfg.model.affinity
    for values, rounded in ((norm.mean, (0.4815, 0.4578, 0.4082)), (norm.std, (0.2686, 0.2613, 0.2758))):
        assert [round(value / 255, 4) for value in values] == [*rounded]
    assert (vit.arch, vit.img_size, vit.pre_norm, vit.norm_cfg.eps) == ('base', 224, True, 1e-5)
    assert vit.layer_cfgs.act_cfg.type == 'mmpretrain.QuickGELU'
    box = 0.7 if 'coco' in path.stem else 0.4
    assert (own.source, own.num_blocks, own.rounds, own.power, own.box_threshold) == ('attention', 8, 3, 2, box)
    assert (cfg.model.cam_scales, cfg.model.background_threshold) == ((1.0,), 0.5)
    dino = cfg.affinity
    assert (dino.temperature, dino.power, dino.box_threshold, dino.longer_side) == (0.15, 2, None, 518)
    given = [cfg.get(f'test_{name}') is not None for name in ('dataloader', 'cfg', 'evaluator')]
    assert all(given), 'for tools/test.py'


def test_own_photos_compete_with_no_name_of_theirs(tmp_path):
    text = (ROOT / 'configs/clip/own_photos.py').read_text()
    assert "classes = ('cat', 'dog')" in text
    (tmp_path / 'own.py').write_text(text.replace("classes = ('cat', 'dog')", "classes = ('lake', 'cat')"))
    head = Config.fromfile(tmp_path / 'own.py').model.cam_head
    assert not {'lake', 'cat', 'kitten'} & {*head.background}
    assert {'grass', 'sofa', 'sky'} < {*head.background}


@for_all(SECOND_STAGES)
def test_second_stages_see_whole_patches(cfg):
    """A ViT does not see the rest of the border: windows are full and of whole patches, whole images are padded."""
    patch, crop = cfg.model.backbone.get('patch_size', 16), crop_of(cfg)
    assert [side % patch for side in crop] == [0, 0]
    if cfg.model.test_cfg.mode == 'slide':
        assert tuple(cfg.model.test_cfg.crop_size) == crop
        assert max(cfg.model.test_cfg.stride) < min(crop)
        assert 'test_cfg' not in cfg.model.data_preprocessor, 'padding would move the windows at the border'
        resizing = [loader.dataset.pipeline[1] for loader in evaluation_loaders(cfg)]
        resizing += cfg.tta_pipeline[1].transforms[0]
        assert len(resizing) == 8
        assert all(step.type == 'ResizeToFill' and step.window >= max(crop) for step in resizing)
    else:
        assert cfg.model.data_preprocessor.test_cfg.size_divisor == patch
    loss = cfg.model.decode_head.loss_decode
    assert (cfg.model.type == 'OnlineRetraining') == (loss.type == 'GradientClippedCrossEntropy')
    if cfg.model.type == 'OnlineRetraining':
        assert loss.patch_size == min(crop) // 4, 'a quarter of the crop, as in the paper'
    else:
        assert 'SegmentationClassA' in cfg.train_dataloader.dataset.mask_dir, (
            'the counterpart learns from ground-truth masks'
        )
        assert cfg.train_dataloader.dataset.data_prefix.ground_truth_path is None


@for_all(WITH_POSITIONS)
def test_second_stages_have_a_position_for_every_patch_of_the_crop(cfg):
    assert (cfg.model.backbone.img_size,) * 2 == crop_of(cfg)


@for_all(SECOND_STAGES)
def test_second_stages_refine_as_the_paper_says(cfg, path):
    assert cfg.tta_model.type == 'MeanSoftmaxTTA'
    assert cfg.crf.type == 'DenseCRF'
    assert cfg.crf.preset == ('weaktr-coco' if 'coco' in path.stem else 'weaktr-voc')


def test_normalisation_is_the_models_own(cfg):
    """At the top of a config mmengine gives it to the outermost model: with test-time augmentation, the wrong one."""
    assert 'data_preprocessor' not in cfg


def test_pipelines_and_schedules_build(cfg):
    init_default_scope(cfg.default_scope)
    for loader in (cfg.train_dataloader, *evaluation_loaders(cfg)):
        for transform in loader.dataset.pipeline:
            TRANSFORMS.build(transform)
    assert OPTIM_WRAPPERS.get(cfg.optim_wrapper.type) is not None
    for scheduler in cfg.param_scheduler:
        assert PARAM_SCHEDULERS.get(scheduler.type) is not None
        assert scheduler.end <= cfg.train_cfg.max_iters, 'a schedule that outlives the training never ends'


def test_inference_apis_of_mmseg_find_the_pipeline_of_the_test(cfg):
    """``inference_model`` takes ``test_pipeline``, ``MMSegInferencer`` a step called LoadImageFromFile."""
    assert cfg.test_pipeline == cfg.test_dataloader.dataset.pipeline
    assert cfg.test_pipeline[0] == dict(type='LoadImageFromFile', _scope_='mmseg_wsss')


def test_model_index_lists_every_config():
    index = load(ROOT / 'model-index.yml')
    listed = [model['Config'] for path in index['Import'] for model in load(ROOT / path)['Models']]
    assert sorted(listed) == sorted(path.relative_to(ROOT).as_posix() for path in CONFIGS)
