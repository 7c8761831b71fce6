"""The line in a log: how far, how fast, how long."""

import pytest

from mmseg_wsss import progress


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
