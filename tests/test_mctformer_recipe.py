"""The published recipe of MCTformer+'s first stage, from its config: learning rates, weight decay, crops."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS, PARAM_SCHEDULERS
from published import GOLDEN

from mmseg_wsss.checkpoints import MCTFORMER_PLUS
from mmseg_wsss.evaluation.pixel_counts import THRESHOLDS, best_threshold, cam_counts

CONFIG = Path(__file__).parents[1] / 'configs/mctformer/mctformer-cam_deit-s16_1xb32-45e_voc12aug-448x448.py'


@pytest.fixture(scope='module')
def cfg():
    return Config.fromfile(CONFIG)


def test_learning_rate_of_every_epoch(cfg, golden):
    recorded = golden('mct_plus_lr')['rates_times_1e6']
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=cfg.optim_wrapper.optimizer.lr)
    settings = cfg.param_scheduler[0]
    scheduler = PARAM_SCHEDULERS.build(settings, default_args=dict(optimizer=optimizer))
    first_of_epoch = range(0, settings.end, settings.epoch_iters)
    rates = [scheduler.rate(3.125e-5, step) * 1e6 for step in first_of_epoch]
    torch.testing.assert_close(torch.tensor(rates), recorded, rtol=1e-5, atol=0)
    assert cfg.optim_wrapper.optimizer.lr == 5e-4 * cfg.train_dataloader.batch_size / 512
    assert settings.epoch_iters == 10582 // cfg.train_dataloader.batch_size
    assert settings.end == cfg.train_cfg.max_iters == 45 * 330


def test_parameters_without_weight_decay_are_the_recorded_ones(cfg):
    """Positions decay: the published list names an embedding that the network does not use."""
    init_default_scope('mmseg')
    small = dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=192)
    model = MODELS.build(cfg.model | dict(backbone=cfg.model.backbone | dict(arch=small, img_size=96), num_classes=6))
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decays = {names[id(p)]: group['weight_decay'] for group in optimizer.param_groups for p in group['params']}
    assert set(decays.values()) == {0.0, 0.05}
    theirs = MCTFORMER_PLUS.to_theirs({name: torch.full_like(p, decays[name]) for name, p in model.named_parameters()})
    unused = {'norm.weight', 'norm.bias', 'pos_embed'}
    free = {name for name, value in theirs.items() if name not in unused and not value.any()}
    assert free == {*json.loads((GOLDEN / 'mct_plus_no_weight_decay.json').read_text())} - unused


def test_crops_are_as_large_as_the_position_embedding(cfg):
    crops = [
        step.scale for step in cfg.train_dataloader.dataset.pipeline if step.type == 'mmpretrain.RandomResizedCrop'
    ]
    assert crops == [cfg.model.backbone.img_size] == [448]
    assert cfg.model.backbone.init_cfg.repeat_positions


def test_the_search_of_the_threshold_does_not_stop_at_the_first_fall():
    """Published: from 0 upwards until the mIoU first falls, here where one object pixel is lost."""
    cam = torch.tensor([[[0.105, 0.205, 0.305, 0.305, 0.305, 0.505, 0.505, 0.505]]])
    ground_truth = torch.tensor([[0, 1, 0, 0, 0, 1, 1, 1]])
    best, means = best_threshold(cam_counts(cam, ground_truth, torch.tensor(THRESHOLDS)))
    published = next(step for step, (now, then) in enumerate(pairwise(means)) if then < now)
    assert (THRESHOLDS[published], THRESHOLDS[best]) == (0.2, 0.31)
    assert means[best] > means[published] + 10
