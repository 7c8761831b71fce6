"""The benchmark of the data pipelines on drawn images: its profile adds up and changes nothing."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'benchmarks'))

import data_pipeline  # noqa: E402
import weaktr_step  # noqa: E402


@pytest.fixture
def drawn(tmp_path):
    """Arguments of a data set of two drawn images."""
    init_default_scope('mmseg')
    return data_pipeline.gather_images(tmp_path / 'nowhere', 2, tmp_path)


def build(source, name):
    pipeline = Config.fromfile(ROOT / data_pipeline.PIPELINES[name]).train_dataloader.dataset.pipeline
    return DATASETS.build(dict(source, pipeline=pipeline))


def inputs(dataset):
    data_pipeline.seed_all()
    found = dataset[1]['inputs']
    return torch.stack(list(found.values())) if isinstance(found, dict) else found


@pytest.mark.parametrize('name', data_pipeline.PIPELINES)
def test_the_profile_adds_up_and_changes_nothing(drawn, name):
    expected = inputs(build(drawn, name))
    dataset = build(drawn, name)
    costs = data_pipeline.profile(dataset, passes=2)
    assert torch.equal(inputs(dataset), expected)
    parts = costs['parts_ms']
    outer = [path for path in parts if '/' not in path]
    assert outer[0] == 'LoadImage'
    assert outer[-1] == 'PackWSSSInputs'
    assert 0 < sum(parts[path] for path in outer) <= np.mean(costs['total_ms'])
    inner = [path for path in parts if path.startswith('MultiView/')]
    assert sum(parts[path] for path in inner) <= parts.get('MultiView', 0)
    assert len(inner) == (8 if name.startswith('ToCo') else 0)
    assert len(costs['total_ms']) == 2


def test_a_folder_of_voc_is_taken(tmp_path, drawn):
    voc = tmp_path / 'voc'
    (tmp_path / 'drawn/images').rename(voc.mkdir() or voc / 'JPEGImages')
    (tmp_path / 'drawn/masks').rename(voc / 'SegmentationClassAug')
    (voc / 'JPEGImages/0.jpg').unlink()
    source = data_pipeline.gather_images(voc, 5, tmp_path)
    dataset = build(source, 'WeakTr stage 2, 480')
    assert [Path(dataset.get_data_info(index)['img_path']).name for index in range(len(dataset))] == ['1.jpg']


def test_data_table():
    record = dict(
        date='d',
        device='c',
        threads=1,
        load_average=0.5,
        images='3 drawn',
        pipelines={
            'one': dict(
                loader={1: 50.0, 2: 90.0}, total_ms=[10.0, 20.0, 60.0], parts_ms={'A': 15.0, 'A/b/C': 6.0, 'D': 3.0}
            )
        },
    )
    assert json.loads(json.dumps(record))['pipelines']['one']['loader'] == {'1': 50.0, '2': 90.0}
    table = data_pipeline.to_table(record).splitlines()
    assert table[6] == (
        '| pipeline | CPU ms per image | images per CPU second | loader, 1 worker | loader, 2 workers '
        '| 8 workers (estimate) |'
    )
    assert table[8] == '| one | 20.0 | 50.0 | 50.0 | 90.0 | 400 |'
    assert table[-3:] == ['| A | 15.00 | 50% |', '| - A/b/C | 6.00 | 20% |', '| D | 3.00 | 10% |']


def test_weaktr_table_shows_medians_and_ratios():
    def runs(*costs):
        return [dict(seconds=list(seconds), cpu_seconds=list(busy), peak=peak * 2**20) for seconds, busy, peak in costs]

    record = dict(
        date='d',
        device='c',
        threads=1,
        load_average=0.5,
        arch='a',
        dtype='float32',
        cases={
            'x': dict(
                images=8,
                runs=dict(
                    reference=runs(([4.0, 8.0], [4.0, 4.0], 1000), ([8.0], [4.0], 1200)), ours=runs(([2.0], [1.6], 440))
                ),
            )
        },
    )
    assert weaktr_step.to_table(record).splitlines()[-2:] == [
        '| x | reference | 1.00 | 0.500 | 1,100 | 100% | 1.00x | 1.00x |',
        '| x | ours | 4.00 | 0.200 | 440 | 40% | 4.00x | 2.50x |',
    ]


def test_weaktr_ways_agree_on_a_tiny_network():
    arch = dict(embed_dims=32, num_layers=4, num_heads=2, feedforward_channels=64)
    results = {}
    for train, shape in ((True, (2, 3, 64, 64)), (False, (1, 3, 48, 80))):
        for way in (weaktr_step.REFERENCE, weaktr_step.OURS):
            run = weaktr_step.measure(way, arch=arch, shape=shape, train=train, iters=2, amp=False, device='cpu')
            assert len(run['seconds']) == len(run['cpu_seconds']) == 2
            results[way] = run['results']
        # three steps of training, or the same CAMs three times
        np.testing.assert_allclose(results['ours'], results['reference'], rtol=1e-5, atol=1e-7)
        assert np.ptp(results['ours'], axis=0).max() > 1e-5 or not train
