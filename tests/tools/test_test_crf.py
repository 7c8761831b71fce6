"""tools/test.py --crf: worker processes, here and under torchrun, change nothing; presets and other refiners."""

import json
import sys

import numpy as np
import pytest
from launch import run_together
from PIL import Image
from tool_module import TOOLS, load_tool

pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')


@pytest.mark.slow
@pytest.mark.parametrize('views', [(), ('--tta',)], ids=['one view', 'tta'])
def test_workers_change_nothing(run, views):
    name = 'test_tta_crf' if views else 'test_crf'
    serial, masks = run(*views, '--crf', '--workers', '0', name=name)
    parallel, same = run(*views, '--crf', '--workers', '2', name=name)
    _, plain = run(*views, name='test_tta' if views else 'test')
    assert parallel == serial
    assert list(same) == list(masks) == ['0', '1', '2']
    assert all(np.array_equal(same[name], masks[name]) for name in masks)
    assert any((plain[name] != masks[name]).any() for name in masks)


@pytest.mark.slow
def test_launched_processes_with_workers_change_nothing(toy, run, tmp_path):
    """Two processes with a worker each share three images."""
    serial, masks = run('--crf', '--workers', '0', name='test_crf')
    there = tmp_path / 'launched'
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
    files = ['--work-dir', str(there), '--out', str(there / 'masks')]
    options = ['--crf', '--workers', '1', '--launcher', 'pytorch']
    run_together([*torchrun, TOOLS / 'test.py', toy / 'toy.py', toy / 'toy.pth', *files, *options])
    assert json.loads((there / 'test_crf.json').read_text())['metrics'] == serial['metrics']
    assert sorted(path.stem for path in (there / 'masks').glob('*.png')) == sorted(masks)
    assert all(np.array_equal(Image.open(there / 'masks' / f'{name}.png'), masks[name]) for name in masks)


def test_crf_of_a_paper(run):
    record, named = run('--crf', 'weaktr-coco', '--workers', '0', name='test_crf')
    assert record['crf'] == 'weaktr-coco'
    options = ['crf.gaussian.compat=3', 'crf.bilateral.sxy=67', 'crf.bilateral.srgb=3']
    _, written = run('--crf', '--workers', '0', '--cfg-options', *options, name='test_crf')
    _, own = run('--crf', '--workers', '0', name='test_crf')
    assert all(np.array_equal(written[name], named[name]) for name in named)
    assert any((own[name] != named[name]).any() for name in named)
    off = ['crf.gaussian.compat=0', 'crf.bilateral.compat=0']
    _, silent = run('--crf', 'weaktr-coco', '--workers', '0', '--cfg-options', *off, name='test_crf')
    _, plain = run()
    assert all(np.array_equal(silent[name], plain[name]) for name in plain), 'options go on top of the preset'


def test_crf_by_another_refiner(run):
    _, exact = run('--crf', '--cfg-options', 'crf.type=ExactCRF', 'crf.num_iter=2', name='test_crf')
    _, plain = run()
    assert any((plain[name] != exact[name]).any() for name in plain)


def test_crf_without_pairwise_terms_changes_nothing(run):
    _, plain = run()
    _, same = run(
        '--crf', '--workers', '0', '--cfg-options', 'crf.gaussian.compat=0', 'crf.bilateral.compat=0', name='test_crf'
    )
    assert all(np.array_equal(plain[name], same[name]) for name in plain)


EVALUATOR = """
_base_ = {base!r}
test_evaluator = dict(
    _delete_=True, type={kind!r}, metrics={metrics}, refiner=dict(type='DenseCRF', preset='weaktr-coco'), workers=0
)
"""


@pytest.fixture
def config(toy, tmp_path):
    """Write a config with an evaluator of its own."""

    def write(kind='RefiningEvaluator', metrics="[dict(type='CAMIoUMetric')]"):
        path = tmp_path / 'evaluator.py'
        path.write_text(EVALUATOR.format(base=str(toy / 'toy.py'), kind=kind, metrics=metrics))
        return path

    return write


@pytest.mark.parametrize('metrics', ["[dict(type='CAMIoUMetric')]", "dict(type='CAMIoUMetric')"])
def test_the_masks_of_a_config_that_refines(run, config, metrics):
    """What it evaluates is what it writes, and what ``--crf`` with the same values gives."""
    record, masks = run(config=config(metrics=metrics))
    named, same = run('--crf', 'weaktr-coco', '--workers', '0', name='test_crf')
    assert record['metrics']['seg/mIoU'] == named['metrics']['seg/mIoU']
    assert list(masks) == list(same) == ['0', '1', '2']
    assert all(np.array_equal(same[name], masks[name]) for name in masks)


def test_crf_replaces_that_of_the_config(run, config):
    options = ['--crf', '--workers', '0']
    record, masks = run(*options, config=config(), name='test_crf')
    plain, same = run(*options, name='test_crf')
    _, other = run(config=config())
    assert record['metrics'] == plain['metrics']
    assert all(np.array_equal(same[name], masks[name]) for name in masks), 'refined once, by the default'
    assert any((other[name] != masks[name]).any() for name in masks)


def test_crf_beside_an_evaluator_that_is_not_known(toy, config):
    tool = load_tool('test.py')
    args = tool.parse_args([str(config('MultiDatasetsEvaluator')), str(toy / 'toy.pth'), '--crf'])
    with pytest.raises(ValueError, match=r'evaluator\.py: a CRF replaces .* which is a MultiDatasetsEvaluator'):
        tool.build_cfg(args)
