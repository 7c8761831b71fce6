"""RefiningEvaluator: what the refiner sees, order and content of what the metrics see, with and without workers."""

import numpy as np
import own_refiner  # noqa: F401  registers NextClass
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.registry import EVALUATOR, METRICS, MODELS
from mmseg.structures import SegDataSample
from PIL import Image

from mmseg_wsss.cores import usable_cores
from mmseg_wsss.worker_pool import WorkerDiedError

CRF = dict(type='DenseCRF', num_iter=2)


@METRICS.register_module()
class Collect(BaseMetric):
    """Keeps what it is given."""

    default_prefix = ''

    def __init__(self):
        super().__init__()
        self.seen = []

    def process(self, data_batch, data_samples):
        self.seen += [(sample, data_batch) for sample in data_samples]
        self.results += data_samples

    def compute_metrics(self, results):
        return dict(count=len(results))


@pytest.fixture
def samples(tmp_path):
    """Five predictions of five classes, some off, for images of coloured areas in several sizes."""
    pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')
    found = []
    for number in range(5):
        ground_truth = torch.zeros(20 + number, 30, dtype=torch.long)
        ground_truth[4 + number :, 9:] = 1 + number % 2
        colours = torch.tensor([[20, 40, 200], [250, 30, 20], [0, 200, 90]], dtype=torch.uint8)
        path = tmp_path / f'{number}.png'
        Image.fromarray(colours[ground_truth].numpy()).save(path)
        one = SegDataSample(metainfo=dict(img_path=str(path)))
        logits = 2 * torch.randn(5, *ground_truth.shape) + 2 * torch.nn.functional.one_hot(ground_truth, 5).permute(
            2, 0, 1
        )
        logits[[1, 3]] = logits[[3, 1]] - torch.tensor([90, 0])[:, None, None]  # 1 is absent, and 3 in its place
        one.seg_logits = PixelData(data=logits)
        one.pred_sem_seg = PixelData(data=logits.argmax(dim=0, keepdim=True))
        one.gt_sem_seg = PixelData(data=ground_truth[None])
        found.append(one)
    return found


def build(workers, refiner=CRF):
    with DefaultScope.overwrite_default_scope('mmseg'):
        config = dict(type='RefiningEvaluator', metrics=[dict(type='Collect')], refiner=refiner, workers=workers)
        return EVALUATOR.build(config)


def refined(samples, workers):
    """The metric's (samples, batches) after all of them, in batches of 2, 2 and 1."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        evaluator = build(workers)
        evaluator.dataset_meta = dict(classes=tuple('abcde'))
        for start in (0, 2, 4):
            evaluator.process([one.clone() for one in samples[start : start + 2]], data_batch=f'batch {start}')
        assert evaluator.evaluate(5) == dict(count=5)
    return evaluator.metrics[0].seen


@pytest.mark.parametrize('workers', [0, 2])
def test_the_metrics_see_the_refined_labels_in_order(samples, workers):
    seen = refined(samples, workers)
    crf = MODELS.build(CRF)
    assert [batch for _, batch in seen] == ['batch 0', 'batch 0', 'batch 2', 'batch 2', 'batch 4']
    changed = 0
    for (found, _), one in zip(seen, samples, strict=True):
        assert found['img_path'] == one.img_path
        assert 'seg_logits' not in found
        rgb = torch.from_numpy(np.array(Image.open(one.img_path))).permute(2, 0, 1)[None] / 255
        expected = crf(rgb, one.seg_logits.data.softmax(0)[None])[0].argmax(0)
        assert torch.equal(found['pred_sem_seg']['data'], expected[None])
        assert torch.equal(found['gt_sem_seg']['data'], one.gt_sem_seg.data)
        assert set(expected.unique().tolist()) <= {0, 2, 3, 4}
        changed += int((expected != one.pred_sem_seg.data[0]).sum())
    assert changed > 20


def test_workers_by_default(samples):
    def workers(kind):
        return build(None, dict(type=kind)).workers

    assert workers('DenseCRF') == workers('LabelCRF') == usable_cores()
    assert workers('ExactCRF') == workers('PAR') == 0


def test_an_image_of_another_size_is_refused(samples):
    samples[0].set_metainfo(dict(img_path=samples[3].img_path))
    with pytest.raises(ValueError, match=r'3\.png is \(23, 30\), its prediction \(20, 30\)'):
        refined(samples, 0)


def test_predictions_without_logits_are_refused(samples):
    del samples[1].seg_logits
    with pytest.raises(ValueError, match=r'1\.png: the prediction has no seg_logits'):
        refined(samples, 0)


def test_one_channel_is_refused(samples):
    samples[1].seg_logits = PixelData(data=samples[1].seg_logits.data[:1])
    with pytest.raises(ValueError, match=r'1\.png: the seg_logits have one channel, .* with out_channels=2'):
        refined(samples, 0)


@pytest.mark.parametrize('value', [torch.nan, torch.inf])
def test_logits_that_are_not_finite_are_refused(samples, value):
    samples[1].seg_logits.data[2, 3, 4] = value
    with pytest.raises(ValueError, match=r'1\.png: the network gives seg_logits that are not finite'):
        refined(samples, 0)


@pytest.mark.parametrize('workers', [0, 1])
def test_hooks_see_the_samples_as_they_were(samples, workers):
    before = [(one.seg_logits.data, one.pred_sem_seg.data, one.pred_sem_seg.data.clone()) for one in samples]
    evaluator = build(workers)
    evaluator.process(samples)
    evaluator.evaluate(5)
    for one, (logits, label, copied) in zip(samples, before, strict=True):
        assert one.seg_logits.data is logits
        assert one.pred_sem_seg.data is label
        assert torch.equal(label, copied)
    assert any(
        (one[0]['pred_sem_seg']['data'] != label).any()
        for one, (_, label, _) in zip(evaluator.metrics[0].seen, before, strict=True)
    )


@pytest.mark.parametrize('workers', [0, 1])
def test_a_refiner_of_a_module_that_only_this_process_imported(samples, workers):
    evaluator = build(workers, dict(type='NextClass'))
    evaluator.process(samples)
    assert evaluator.evaluate(5) == dict(count=5)
    for (found, _), one in zip(evaluator.metrics[0].seen, samples, strict=True):
        assert torch.equal(found['pred_sem_seg']['data'], (one.pred_sem_seg.data + 1) % 5)


def test_a_refiner_that_workers_cannot_make_says_why(samples):
    evaluator = build(1, dict(type='NextClass', unmakeable=True))
    evaluator.process(samples[:1])
    with pytest.raises(ArithmeticError, match='there is no licence for workers'):
        evaluator.evaluate(1)


@pytest.mark.parametrize('workers', [0, 1])
def test_after_an_error_it_starts_again(samples, workers):
    evaluator = build(workers, dict(type='NextClass'))
    bad = samples[1].clone()
    del bad.seg_logits
    with pytest.raises(ValueError, match='no seg_logits'):
        evaluator.process([samples[0], bad], 'bad batch')
    evaluator.process([samples[2]], 'good batch')
    assert evaluator.evaluate(1) == dict(count=1)
    ((found, batch),) = evaluator.metrics[0].seen
    assert (found['img_path'], batch) == (samples[2].img_path, 'good batch')
    assert torch.equal(found['pred_sem_seg']['data'], (samples[2].pred_sem_seg.data + 1) % 5)


def test_after_a_worker_died_it_starts_again(samples):
    evaluator = build(1, dict(type='NextClass', dies=True))
    evaluator.process(samples[:2])
    with pytest.raises(WorkerDiedError, match='a worker process died'):
        evaluator.evaluate(2)
    assert evaluator.evaluate(0) == dict(count=0), 'nothing is left to wait for'


def test_it_evaluates_again(samples):
    evaluator = build(0)
    for _ in range(2):
        evaluator.process([samples[0].clone()])
        assert evaluator.evaluate(1) == dict(count=1)
