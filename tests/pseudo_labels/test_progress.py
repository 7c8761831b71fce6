"""The line in a log: how far, how fast, how long."""

import json

import pytest

from mmseg_wsss.pseudo_labels import Unreadable, progress, write_report


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [100.0]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
    return now


@pytest.mark.parametrize('shown', [True, False])
def test_a_line_every_half_minute(clock, capsys, shown):
    with progress.Progress(20_000, 'labels', shown=shown) as line:
        for _ in range(140):
            clock[0] += 0.5
            line.advance()
    wanted = ['labels 61/20000, 2.00 images/s, ETA 2:46:10', 'labels 122/20000, 2.00 images/s, ETA 2:45:39']
    assert capsys.readouterr().err.splitlines() == (wanted if shown else [])


def test_report(tmp_path):
    skipped = [Unreadable('x.png', 'x.png: cut off')]
    text = write_report(tmp_path, total=30, written=20, before=9, skipped=skipped, seconds=8.0)
    assert text.endswith('in 8.0 s (2.50 images/s), 9 were there before\n1 images were SKIPPED:\n  x.png: cut off')
    record = json.loads((tmp_path / 'report.json').read_text())
    assert record == {
        'images': 30,
        'there_before': 9,
        'written': 20,
        'seconds': 8.0,
        'images_per_second': 2.5,
        'skipped': [{'path': 'x.png', 'error': 'x.png: cut off'}],
    }
