"""The optimizer of the log's summary is mmengine's, and the log is short."""

import logging

import pytest
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from torch import nn

CFG = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.1),
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=dict(head=dict(lr_mult=10))),
)


class Records(logging.Handler):
    def __init__(self):
        super().__init__(level=logging.INFO)  # mmengine's logger itself takes DEBUG too
        self.lines = []

    def emit(self, record):
        self.lines.append((record.levelname, record.getMessage()))


@pytest.fixture
def lines():
    """What the current logger says."""
    logger, handler = MMLogger.get_current_instance(), Records()
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)


def make_model():
    model = nn.ModuleDict(dict(backbone=nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)), head=nn.Linear(4, 2)))
    model['teacher'] = nn.Linear(2, 2).requires_grad_(False)
    return model


def groups(wrapper):
    return [(g['lr'], g['weight_decay'], [p.shape for p in g['params']]) for g in wrapper.optimizer.param_groups]


def test_the_same_optimizer_in_four_lines(lines):
    model = make_model()
    expected = build_optim_wrapper(model, dict(CFG))
    assert len(lines) == 10, 'mmengine says more'
    lines.clear()
    wrapper = build_optim_wrapper(model, dict(CFG, constructor='mmseg.SummaryOptimWrapperConstructor'))
    assert groups(wrapper) == groups(expected)
    assert lines == [
        ('INFO', 'optimizer: lr 0.001, weight decay 0.1: backbone (16 values)'),
        ('INFO', 'optimizer: lr 0.001, weight decay 0: backbone (8 values)'),
        ('INFO', 'optimizer: lr 0.01, weight decay 0.1: head (10 values)'),
        ('INFO', 'optimizer: not trained: teacher (6 values)'),
    ]


def test_nothing_stays_behind(lines):
    logger = MMLogger.get_current_instance()
    before = list(logger.filters)
    with pytest.raises((KeyError, TypeError)):
        build_optim_wrapper(
            make_model(),
            dict(
                CFG,
                optimizer=dict(type='NoSuch', lr=1, weight_decay=0),
                constructor='mmseg.SummaryOptimWrapperConstructor',
            ),
        )
    assert logger.filters == before
    logger.info('paramwise_options -- as others say it')
    assert lines[-1][1] == 'paramwise_options -- as others say it'
