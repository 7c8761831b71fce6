"""The bar: shown by the first process alone, and quiet in a log."""

import time

import pytest
import tqdm.std

from mmseg_wsss import progress


@pytest.mark.parametrize('rank', [0, 1])
def test_a_state_every_half_minute(monkeypatch, capsys, rank):
    now = [100.0]
    monkeypatch.setattr(progress, 'get_rank', lambda: rank)
    monkeypatch.setattr(time, 'time', lambda: now[0])
    monkeypatch.setattr(tqdm.std, 'time', lambda: now[0])
    with progress.progress_bar(total=20_000, text='labels') as bar:
        for _ in range(140):
            now[0] += 0.5
            bar.update()
        shown = capsys.readouterr().err.split('\r')[1:]
    assert [line.split('|')[-1].strip() for line in shown] == (
        [] if rank else ['60/20000 [00:30<2:46:10,  2.00 images/s]', '120/20000 [01:00<2:45:40,  2.00 images/s]']
    )


def test_a_short_run_says_nothing_in_a_log(capsys):
    assert [*progress.progress_bar('abc', text='letters')] == ['a', 'b', 'c']
    assert capsys.readouterr().err == ''


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(progress.sys.stderr, 'isatty', lambda: True)
    assert [*progress.progress_bar('abc', text='letters', unit=' letters')] == ['a', 'b', 'c']
    assert 'letters: 100%' in capsys.readouterr().err
