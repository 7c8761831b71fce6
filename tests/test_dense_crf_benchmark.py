"""The CRF benchmark on small drawn images: its records are complete, go on from a partial file, and become a table."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'benchmarks'))

import crf_classes  # noqa: E402
import dense_crf  # noqa: E402


def test_side_by_side(tmp_path, capsys):
    """What counts is computed again from the samples."""
    partial, out = tmp_path / 'partial.jsonl', tmp_path / 'out.json'
    options = ['--images', '2', '--scale', '0.1', '--preset', 'toco', '--device', 'cpu', '--partial', str(partial)]
    dense_crf.main([*options, '--workers', '0', '--json', str(out)])
    (record,) = json.loads(out.read_text())
    images = [json.loads(line) for line in partial.read_text().splitlines()]
    assert [(one['name'], one['size']) for one in images] == [('0', [38, 50]), ('1', [38, 50])]
    summary = record['summary']
    assert 0.9 < summary['equal, worst image'] <= summary['equal DenseCRF ExactCRF'] <= 1
    torch.manual_seed(0)
    samples = [dense_crf.shrunk(sample, 0.1) for sample in dense_crf.drawn(2)]
    label = np.stack([sample.scores[0].argmax(dim=0).numpy() for sample in samples])
    ground_truth = np.stack([sample.ground_truth.numpy() for sample in samples])
    ious = [((label == k) & (ground_truth == k)).sum() / ((label == k) | (ground_truth == k)).sum() for k in range(3)]
    assert summary['mIoU alone'] == pytest.approx(100 * np.mean(ious))
    assert f'| predictions alone | {100 * np.mean(ious):.2f} |' in capsys.readouterr().out

    before = partial.read_text()
    dense_crf.main([*options, '--workers', '0', '--json', str(out)])
    assert partial.read_text() == before, 'nothing is measured twice'
    assert json.loads(out.read_text())[1]['summary'] == summary


def test_one_without_the_other(capsys):
    with pytest.raises(SystemExit):
        dense_crf.parse_args(['--config', 'a.py'])
    assert '--config and --checkpoint belong together' in capsys.readouterr().err


def test_workers(monkeypatch):
    """One number per repetition and number of workers; the table divides the medians."""
    args = dense_crf.parse_args(['--tasks', '1', '--repeats', '2', '--workers', '2'])
    samples = [dense_crf.shrunk(sample, 0.1) for sample in dense_crf.drawn(1)]
    found = dense_crf.measure_workers(iter(samples), args)
    assert {count: len(speeds) for count, speeds in found.items()} == {'1': 2, '2': 2}
    assert min(min(speeds) for speeds in found.values()) > 0
    table = dense_crf.to_table(dict(workers={'1': [2.0, 1.0, 3.0], '2': [3.4, 9.0, 1.0]}))
    assert table.splitlines()[2:] == ['| 1 | 2.00 | 1.00 |', '| 2 | 3.40 | 0.85 |']


def test_classes(monkeypatch, capsys, tmp_path):
    """Sure predictions lose classes, unsure ones none; without a limit nothing changes."""
    torch.manual_seed(0)
    samples = [dense_crf.shrunk(sample, 0.1) for sample in dense_crf.drawn(2)]
    monkeypatch.setattr(crf_classes, 'drawn', lambda count: iter(samples[:count]))
    out = tmp_path / 'out.json'
    crf_classes.main(['--images', '2', '--sharpen', '0.1', '30', '--json', str(out)])
    (record,) = json.loads(out.read_text())
    assert record['pixels'] == 2 * 38 * 50
    assert list(record['by_count']) == [str(count) for count in crf_classes.COUNTS]
    assert min(record['by_count'].values()) > 0
    for one in record['by_limit']:
        scores = [(one['sharpen'] * sample.scores[0].log()).softmax(dim=0) for sample in samples]
        assert one['classes'] == sum((score.amax(dim=(1, 2)) > one['limit']).sum().item() for score in scores) / 2
        assert one['changed'] == 0 or one['limit'] > 0
    assert '| x0.1 | 0 | 3.0 |' in capsys.readouterr().out
