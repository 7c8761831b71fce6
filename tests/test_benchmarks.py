"""The step benchmark on a tiny ToCo: its parts are all there and add up, the raw numbers are complete."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'benchmarks'))

import toco_step  # noqa: E402
from machine import append_json  # noqa: E402
from part_timer import CLOCKS, REST, WHOLE, PartTimer  # noqa: E402

PARTS = {
    'data',
    'normalise',
    'forward',
    'classification losses',
    'multi-scale CAM',
    'PTC',
    'CTC',
    'pseudo-label',
    'segmentation losses',
    'backward',
    'optimizer',
}
HEADER = {
    'date',
    'config',
    'device',
    'threads',
    'load_average',
    'batch_size',
    'crop',
    'dtype',
    'versions',
    'environment',
    'data',
    'warmup',
}
INNER = {'multi-scale CAM/forward', 'CTC/EMA', 'CTC/forward', 'CTC/projector', 'pseudo-label/refiner'}


@pytest.fixture
def tiny_cfg(monkeypatch, tmp_path):
    """The ViT-B config with a two-block backbone, crops of 64 and no data set on disk."""
    monkeypatch.chdir(tmp_path)
    cfg = toco_step.build_cfg(toco_step.parse_args(['--batch-size', '2']))
    model = cfg.model
    model.backbone.update(
        arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32), img_size=64, out_indices=(0, 1)
    )
    model.projector.update(hidden_channels=16, bottleneck_channels=8, out_channels=16)
    model.decode_head.channels = 8
    model.update(num_local_crops=2, local_crop_size=32)
    views = cfg.train_dataloader.dataset.pipeline[1]
    views.geometry[-1].crop_size = (64, 64)
    views.free.global_view[0].scale = 64
    return cfg


def test_every_part_is_measured_and_they_add_up(tiny_cfg):
    record = toco_step.measure(tiny_cfg, device='cpu', iters=2, warmup=1)
    parts = record['parts']
    assert set(parts) == PARTS | INNER | {WHOLE, REST}
    for clock in CLOCKS:
        cost = {name: np.array(values[clock]) for name, values in parts.items()}
        assert all(values.shape == (2,) and (values >= 0).all() for name, values in cost.items())
        np.testing.assert_allclose(sum(cost[name] for name in PARTS) + cost[REST], cost[WHOLE], rtol=1e-9, atol=1e-9)
        for outer in {name.split('/')[0] for name in INNER}:
            inner = sum(cost[name] for name in INNER if name.startswith(f'{outer}/'))
            assert (inner <= cost[outer] + 1e-9).all()
    assert all(min(parts[name]['wall_s']) > 0 for name in PARTS | INNER)
    assert set(record) == HEADER | {'parts', 'memory'}
    assert json.loads(json.dumps(record)) == record
    assert record['batch_size'] == 2
    assert record['crop'] == [64, 64]
    assert record['dtype'] == 'float32'
    assert record['data'] == '16 drawn images'
    assert record['memory']['peak'] >= record['memory']['before_first_iteration'] > 2**20


def test_parts_of_an_ablation_are_left_out(tiny_cfg):
    tiny_cfg.model.update(loss_ptc=None, loss_ctc=None, projector=None, refiner=None, loss_reg=None)
    parts = toco_step.measure(tiny_cfg, device='cpu', iters=1, warmup=0)['parts']
    gone = {'multi-scale CAM', 'PTC', 'CTC', 'pseudo-label', 'segmentation losses'}
    assert set(parts) == PARTS - gone | {WHOLE, REST}


def test_timer_names_nested_parts_by_their_outer_one_and_adds_repeated_calls(monkeypatch):
    timer = PartTimer(torch.device('cpu'))
    # every reading advances wall time by 1 s, CPU time by 2 s and 3 page faults
    readings = (np.array([1.0, 2.0, 3.0]) * tick for tick in range(100))
    monkeypatch.setattr(timer, '_read_clocks', lambda: next(readings))

    class Model:
        def inner(self):
            return 'result'

        def outer(self):
            return self.inner()

    model = Model()
    timer.wrap(model, 'inner', 'inner')
    timer.wrap(model, 'outer', 'outer')
    with timer.iteration():
        assert model.outer() == 'result'
        model.inner()
        model.inner()
    wall = {path: cost[0] for path, cost in timer.iterations[0].items()}
    # ticks: total 0..9, outer 1..4, outer/inner 2..3, inner 5..6 and 7..8
    assert wall == {WHOLE: 9, 'outer': 3, 'outer/inner': 1, 'inner': 2, REST: 4}
    assert timer.iterations[0]['outer'].tolist() == [3, 6, 9]
    assert 'inner' not in vars(Model()), 'other instances stay as they are'


def test_table_shows_medians_and_json_keeps_every_run(tmp_path):
    def costs(*wall):
        return dict(wall_s=list(wall), cpu_s=[value / 2 for value in wall], page_faults=[7.0] * len(wall))

    record = dict(
        config='c',
        warmup=1,
        versions=dict(torch='2', numpy='1'),
        parts={
            WHOLE: costs(1, 2, 9),
            'data': costs(0.5, 0.5, 8),
            'data/read': costs(0.1, 0.2, 0.3),
            REST: costs(0.5, 1.5, 1),
        },
        memory=dict(kind='CUDA allocator', peak=3 * 2**20, before_first_iteration=2**20),
    )
    table = toco_step.to_table(record).splitlines()
    assert 'versions: torch 2, numpy 1' in table
    assert 'warmup: 1' in table
    assert 'medians of 3 iterations' in table
    assert 'peak memory: 3 MiB (CUDA allocator), 1 MiB before the first iteration' in table
    assert table[-4:] == [
        '| data | 500.0 | 25.0% | 250.0 | 7 |',
        '| - data/read | 200.0 | 10.0% | 100.0 | 7 |',
        '| rest | 1000.0 | 50.0% | 500.0 | 7 |',
        '| total | 2000.0 | 100.0% | 1000.0 | 7 |',
    ]
    out = tmp_path / 'new' / 'runs.json'
    append_json(record, out)
    append_json(dict(record, config='d'), out)
    assert [run['config'] for run in json.loads(out.read_text())] == ['c', 'd']
    assert [path.name for path in out.parent.iterdir()] == ['runs.json'], 'no temporary file is left'


def test_amp_flag_chooses_the_precision():
    def wrapper(*flags):
        return toco_step.build_cfg(toco_step.parse_args(list(flags))).optim_wrapper.type

    assert wrapper() == 'OptimWrapper'
    assert wrapper('--amp') == 'BF16OptimWrapper'
    assert wrapper('--no-amp', '--cfg-options', 'optim_wrapper.type=BF16OptimWrapper') == 'OptimWrapper'
