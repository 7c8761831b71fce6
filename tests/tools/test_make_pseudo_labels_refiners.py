"""tools/make_pseudo_labels.py with other refiners: where they run, and what is said when a worker cannot."""

import numpy as np
import own_refiner  # noqa: F401  registers NextClass
import pytest
import torch
from colour_net import make_data, masked_cams, masks
from mmseg.registry import MODELS
from PIL import Image
from tool_module import load_tool

from mmseg_wsss.models.refiners import ExactCRF, LabelCRF
from mmseg_wsss.worker_pool import WorkerDiedError

OPTIONS = ['--split', 'train.txt', '--threshold', '0.6']


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / 'data')


@pytest.fixture
def tool():
    return load_tool('make_pseudo_labels.py')


@pytest.fixture
def run(tool, data, tmp_path):
    """Run the tool; gives the masks."""

    def run_tool(*options):
        files = [data / 'ColourCAM.py', data / 'net.pth', '--out', tmp_path / 'out']
        assert tool.main([*map(str, files), *OPTIONS, *options]) == 0
        return masks(tmp_path / 'out')

    return run_tool


def scores_of(data, name):
    """Segmentation ids (P,) and their scores (P, H, W) before any refinement."""
    cams = masked_cams(data, name)
    kept = [0, *(np.flatnonzero(cams.any(axis=(1, 2))) + 1)]
    return np.array(kept), np.concatenate([np.full_like(cams[:1], 0.6), cams])[kept]


@pytest.fixture
def refiners(tool, monkeypatch):
    """Where the refiner of each run was: the one beside the network, and the config of the workers'."""
    found = []
    label_images = tool.label_images

    def recorded(*arguments, scorer, writer, **options):
        found.append((scorer.refiner, writer['refiner']))
        return label_images(*arguments, scorer=scorer, writer=writer, **options)

    monkeypatch.setattr(tool, 'label_images', recorded)
    return found


def test_a_refiner_without_on_cpu_runs_beside_the_network(run, data, refiners):
    options = ['crf.type=ExactCRF', 'crf.num_iter=2', 'crf.bilateral.srgb=60']
    labels = run('--refine', 'crf-scores', '--cfg-options', *options)
    ((beside, in_workers),) = refiners
    assert isinstance(beside, ExactCRF)
    assert in_workers is None
    crf = MODELS.build(dict(type='ExactCRF', num_iter=2, bilateral=dict(srgb=60)))
    for name, label in labels.items():
        ids, scores = scores_of(data, name)
        image = torch.from_numpy(np.array(Image.open(data / f'images/{name}.png')).transpose(2, 0, 1).copy())
        refined = crf(image[None] / 255, torch.from_numpy(scores)[None])[0].argmax(0)
        assert np.array_equal(label, ids[refined]), name
        assert (label != ids[scores.argmax(0)]).any(), 'it changes something'


def test_a_refiner_on_cpu_runs_in_the_workers(run, refiners):
    pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')
    run('--refine', 'crf-labels')
    ((beside, in_workers),) = refiners
    assert beside is None
    assert in_workers['type'] is LabelCRF


@pytest.mark.parametrize('workers', ['0', '1'])
def test_a_refiner_of_ones_own_module(run, data, workers):
    labels = run('--refine', 'crf-scores', '--workers', workers, '--cfg-options', 'crf.type=NextClass')
    assert len(labels) == 3
    for name, label in labels.items():
        ids, scores = scores_of(data, name)
        assert np.array_equal(label, ids[np.roll(scores, 1, axis=0).argmax(0)]), name


def test_what_a_worker_cannot_make_is_said(run):
    options = ['crf.type=NextClass', 'crf.unmakeable=True']
    with pytest.raises(ArithmeticError, match='there is no licence for workers'):
        run('--refine', 'crf-scores', '--workers', '1', '--cfg-options', *options)


def test_a_worker_that_dies_is_reported_with_the_way_on(run):
    options = ['crf.type=NextClass', 'crf.dies=True']
    message = 'a worker process died, .* fewer --workers; the next call continues with the remaining images'
    with pytest.raises(WorkerDiedError, match=message):
        run('--refine', 'crf-scores', '--workers', '1', '--cfg-options', *options)
