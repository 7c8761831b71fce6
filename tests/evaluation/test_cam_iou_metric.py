"""CAMIoUMetric against slow loops, mmseg's IoUMetric, and cases computed by hand."""

import numpy as np
import pytest
import torch
from cam_samples import CLASSES, random_sample
from mmseg.registry import METRICS

from mmseg_wsss.evaluation.pixel_counts import THRESHOLDS, cam_counts


def build(**kwargs):
    metric = METRICS.build(dict(type='CAMIoUMetric', **kwargs))
    metric.dataset_meta = {'classes': CLASSES}
    return metric


def slow_rates(predictions, ground_truths, num_classes):
    """Per-class IoU, precision, recall, FP, FN in percent, pixel sets compared one class at a time."""
    rows = []
    for k in range(num_classes):
        hit = sum(int(((p == k) & (t == k)).sum()) for p, t in zip(predictions, ground_truths, strict=True))
        false = sum(
            int(((p == k) & (t != k) & (t != 255)).sum()) for p, t in zip(predictions, ground_truths, strict=True)
        )
        missed = sum(int(((p != k) & (t == k)).sum()) for p, t in zip(predictions, ground_truths, strict=True))
        with np.errstate(invalid='ignore'):
            pairs = [(hit, hit + false + missed), (hit, hit + false), (hit, hit + missed)]
            pairs += [(false, hit + false + missed), (missed, hit + false + missed)]
            rows.append([100 * np.float64(a) / np.float64(b) for a, b in pairs])
    return dict(zip(('IoU', 'precision', 'recall', 'FP', 'FN'), np.array(rows).T, strict=True))


def cam_label(cam, threshold):
    value, index = cam.max(dim=0)
    return torch.where(value > threshold, index + 1, 0)


def evaluate(metric, samples):
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def test_slow_loops():
    samples = [random_sample(seed) for seed in range(4)]
    metric = build()
    metrics = evaluate(metric, samples)
    ground_truths = [s['gt_sem_seg']['data'][0] for s in samples]
    for source in ('cam', 'cam_aux', 'seg'):
        means, all_rates = {}, {}
        for t in [round(0.01 * step, 2) for step in range(1, 100)] if source != 'seg' else [0.4]:
            if source == 'seg':
                predictions = [s['pred_sem_seg']['data'][0] for s in samples]
            else:
                predictions = [cam_label(s[source]['data'], t) for s in samples]
            expected = slow_rates(predictions, ground_truths, 4)
            means[t], all_rates[t] = np.nanmean(expected['IoU']), expected
            if t == 0.4:
                np.testing.assert_allclose([*metric.class_iou[source].values()], expected['IoU'])
                assert tuple(metric.class_iou[source]) == CLASSES
                assert metrics[f'{source}/mIoU'] == pytest.approx(means[t])
                assert metrics[f'{source}/num_classes'] == np.isfinite(expected['IoU']).sum()
                for name in ('precision', 'recall', 'FP', 'FN'):
                    assert metrics[f'{source}/{name}'] == pytest.approx(np.nanmean(expected[name])), (source, name)
        if source != 'seg':
            best = max(means, key=means.get)
            assert metrics[f'{source}/best_threshold'] == best
            assert metrics[f'{source}/best_mIoU'] == pytest.approx(means[best])
            for name in ('precision', 'recall'):
                assert metrics[f'{source}/best_{name}'] == pytest.approx(np.nanmean(all_rates[best][name]))
    assert metrics['seg/num_classes'] == 3  # cow is neither in the ground truth nor predicted
    assert metrics['cam/num_classes'] == 4  # the CAM does predict cow: its IoU of 0 counts


def test_counts_are_exact_at_every_threshold():
    """Values on, just below and just above a threshold, in float32, as `value > threshold` decides."""
    sweep = np.array([0.1, 0.2, 0.3, 0.7], dtype=np.float32)
    values = np.concatenate([sweep, np.nextafter(sweep, np.float32(0)), np.nextafter(sweep, np.float32(1)), [0, 1]])
    cam = torch.from_numpy(values.astype(np.float32)).view(1, 1, -1)
    ground_truth = torch.ones(1, cam.shape[-1], dtype=torch.long)
    counts = cam_counts(cam, ground_truth, torch.from_numpy(sweep))
    assert counts.predicted[:, 1].tolist() == [int((values.astype(np.float32) > t).sum()) for t in sweep]
    assert counts.hit[:, 1].tolist() == counts.predicted[:, 1].tolist()
    assert counts.hit[:, 0].tolist() == [0] * 4
    assert counts.ground_truth.tolist() == [[0, cam.shape[-1]]] * 4


def test_segmentation_equals_mmseg():
    samples = [random_sample(seed) for seed in range(5)]
    reference = METRICS.build({'type': 'IoUMetric', 'iou_metrics': ['mIoU', 'mFscore']})
    reference.dataset_meta = {'classes': CLASSES}
    expected = evaluate(reference, samples)
    metrics = evaluate(build(), samples)
    assert round(metrics['seg/mIoU'], 2) == pytest.approx(expected['mIoU'], abs=0.011)
    assert round(metrics['seg/precision'], 2) == pytest.approx(expected['mPrecision'], abs=0.011)
    assert round(metrics['seg/recall'], 2) == pytest.approx(expected['mRecall'], abs=0.011)


def test_hand_computed():
    """The predicted 255 misses a pixel of class 1; what is predicted at the ignored pixel costs nothing."""
    sample = {
        'gt_sem_seg': {'data': torch.tensor([[[0, 1, 1, 255]]])},
        'pred_sem_seg': {'data': torch.tensor([[[0, 1, 255, 2]]])},
    }
    metrics = evaluate(build(), [sample])
    assert metrics == {
        'seg/mIoU': 75.0,
        'seg/precision': 100.0,
        'seg/recall': 75.0,
        'seg/FP': 0.0,
        'seg/FN': 25.0,
        'seg/num_classes': 2,
        'seg/images': 1,
        'seg/images_without_ground_truth': 0,
    }


def test_images_that_show_no_class_count_and_those_without_a_pixel_are_told(monkeypatch):
    """The CAM of an image without tags is 0 everywhere: all background, at every threshold."""
    lines = []
    monkeypatch.setattr('mmseg_wsss.evaluation.metrics.cam_iou_metric.print_log', lambda text, *_: lines.append(text))
    shows = {'gt_sem_seg': {'data': torch.tensor([[[0, 1]]])}, 'pred_sem_seg': {'data': torch.tensor([[[0, 1]]])}}
    shows |= {'cam': {'data': torch.tensor([[[0.0, 0.9]], [[0, 0]], [[0, 0]]])}}
    empty = {'gt_sem_seg': {'data': torch.zeros(1, 1, 2)}, 'pred_sem_seg': {'data': torch.tensor([[[1, 0]]])}}
    empty |= {'cam': {'data': torch.zeros(3, 1, 2)}}
    ignored = dict(empty, gt_sem_seg={'data': torch.full((1, 1, 2), 255)})
    cams = dict(cam_names=('cam',), background_threshold=0.4)
    metrics = evaluate(build(), [sample | cams for sample in (shows, empty, ignored)])
    assert (metrics['cam/mIoU'], metrics['cam/precision'], metrics['cam/recall']) == (100, 100, 100)
    assert metrics['cam/best_mIoU'] == 100
    assert metrics['seg/mIoU'] == pytest.approx(100 * (2 / 3 + 1 / 2) / 2)  # cat: found twice, once wrongly
    for source in ('cam', 'seg'):
        assert (metrics[f'{source}/images'], metrics[f'{source}/images_without_ground_truth']) == (3, 1)
    assert [line.splitlines()[0] for line in lines] == [
        'per class results of cam at threshold 0.4, 3 images:',
        'per class results of seg, 3 images:',
        '1 of 3 images have no pixel to evaluate: their masks are 255 everywhere',
    ]


def test_the_table_per_class(monkeypatch):
    lines = []
    monkeypatch.setattr('mmseg_wsss.evaluation.metrics.cam_iou_metric.print_log', lambda text, *_: lines.append(text))
    sample = dict(
        gt_sem_seg={'data': torch.tensor([[[0, 1, 1, 2]]])},
        pred_sem_seg={'data': torch.tensor([[[0, 1, 0, 2]]])},
        cam={'data': torch.tensor([[[0, 0.9, 0.2, 0]], [[0, 0, 0, 0.45]], [[0, 0, 0, 0]]])},
        cam_names=('cam',),
        background_threshold=0.4,
    )
    evaluate(build(), [sample])
    for table in lines:  # at 0.4 the CAM is the segmentation
        rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in table.splitlines() if '|' in line]
        assert rows == [
            ['Class', 'IoU', 'precision', 'recall', 'FP', 'FN'],
            [CLASSES[0], '50.00', '50.00', '100.00', '50.00', '0.00'],
            [CLASSES[1], '50.00', '100.00', '50.00', '0.00', '50.00'],
            [CLASSES[2], '100.00', '100.00', '100.00', '0.00', '0.00'],
            [CLASSES[3], 'nan', 'nan', 'nan', 'nan', 'nan'],
        ]
    assert len(lines) == 2, 'all images have ground truth: no warning'


def test_arguments_reach_the_base():
    metric = build(prefix='val', collect_device='gpu')
    assert metric.collect_device == 'gpu'
    assert build().collect_device == 'cpu'
    metric.collect_device = 'cpu'
    assert evaluate(metric, [random_sample(0)]).keys() == {
        f'val/{key}' for key in evaluate(build(), [random_sample(0)])
    }


def test_the_thresholds_are_hundredths_and_255_is_ignored():
    assert [round(100 * threshold, 9) for threshold in THRESHOLDS] == list(range(1, 100))
    counts = cam_counts(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[255, 1]]), torch.tensor([0.5]))
    assert [count.tolist() for count in counts] == [[[0, 1]]] * 3


def test_rates_sum_to_hundred():
    metrics = evaluate(build(), [random_sample(7)])
    for source in ('cam', 'cam_aux', 'seg'):
        assert sum(metrics[f'{source}/{name}'] for name in ('mIoU', 'FP', 'FN')) == pytest.approx(100)


def test_nothing_to_evaluate_is_nan_without_a_warning(recwarn):
    sample = random_sample(0)
    sample['gt_sem_seg']['data'] = torch.full((1, 11, 13), 255)
    metrics = evaluate(build(), [sample])
    assert np.isnan(metrics['cam/mIoU'])
    assert np.isnan(metrics['seg/mIoU'])
    assert metrics['seg/num_classes'] == 0
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


def test_padded_samples_are_dropped():
    """The last sample of a padded split is a repetition: `evaluate` with the true size must not count it."""
    samples = [random_sample(seed) for seed in range(3)]
    metric = build()
    metric.process({}, [*samples, samples[0]])
    assert metric.evaluate(3) == evaluate(build(), samples)


def test_keys_cannot_be_taken_for_losses():
    assert not [key for key in evaluate(build(), [random_sample(0)]) if 'loss' in key]


def test_entry_is_small():
    metric = build()
    metric.process({}, [random_sample(0, height=300, width=300)])
    size = sum(array.nbytes for entry in metric.results[0]['counts'].values() for array in entry)
    assert size < 12000


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'gt_sem_seg': None}, 'no gt_sem_seg'),
        ({'cam': {'data': torch.rand(4, 11, 13)}}, r'cam is \(4, 11, 13\), .* \(3, 11, 13\)'),
        ({'pred_sem_seg': {'data': torch.zeros(1, 4, 4)}}, r'pred_sem_seg is \(4, 4\)'),
        ({'gt_sem_seg': {'data': torch.full((1, 11, 13), 9)}}, r'ids \[9\], but there are only 4 classes'),
    ],
)
def test_errors_name_the_image(change, message):
    sample = {key: value for key, value in {**random_sample(5), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=rf'5\.jpg: .*{message}'):
        build().process({}, [sample])


def test_partly_missing_cams_are_refused():
    first, second = random_sample(0), dict(random_sample(1), cam_names=('cam_aux',))
    with pytest.raises(ValueError, match='only 1 of 2 samples carry cam'):
        evaluate(build(), [first, second])


def test_any_names_of_cams_in_the_order_of_the_method():
    """The threshold is the method's, between two of the grid too; `>` decides."""
    sample = {
        'gt_sem_seg': {'data': torch.tensor([[[0, 1, 1]]])},
        'early': {'data': torch.tensor([[[0.123, 0.124, 0.5]], [[0, 0, 0]], [[0, 0, 0.0]]])},
        'late': {'data': torch.zeros(3, 1, 3)},
        'cam_names': ('late', 'early'),
        'background_threshold': 0.1235,
    }
    metrics = evaluate(build(), [sample])
    assert list(dict.fromkeys(key.split('/')[0] for key in metrics)) == ['late', 'early']
    assert metrics['early/mIoU'] == 100
    assert metrics['early/best_threshold'] == 0.1235, 'no other tells 0.123 and 0.124 apart'
    assert metrics['late/mIoU'] == pytest.approx(50 / 3)


def test_a_class_that_is_only_predicted_counts_as_zero():
    """IoU 1/2 of the background and 0 of class 2; published ToCo's score would leave class 2 out."""
    sample = {
        'gt_sem_seg': {'data': torch.tensor([[[0, 0]]])},
        'pred_sem_seg': {'data': torch.tensor([[[0, 2]]])},
    }
    metrics = evaluate(build(), [sample])
    assert (metrics['seg/mIoU'], metrics['seg/num_classes']) == (25.0, 2)
