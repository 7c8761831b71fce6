"""The benchmark of all methods' training steps, on few images."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / 'benchmarks'))

import method_steps


def test_methods_take_turns_and_are_compared_with_the_first(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # without a data set
    out = tmp_path / 'out.json'
    method_steps.main(['--methods', 'weaktr', 'mctformer', '--batch-size', '2', '--iters', '2', '--json', str(out)])
    (record,) = json.loads(out.read_text())
    assert list(record['methods']) == ['weaktr', 'mctformer']
    for one in record['methods'].values():
        assert (one['images'], one['data']) == (2, '16 drawn images')
        assert len(one['wall_s']) == len(one['cpu_s']) == 2
        assert min(one['wall_s'] + one['cpu_s']) > 0
        # more than the activations of a block, less than those of a batch of 32
        assert 10e6 < one['peak'] < 400e6
    rows = capsys.readouterr().out.strip().splitlines()[2:]
    shares = [float(row.split('|')[6]) for row in rows]
    medians = [sum(one['cpu_s']) / 2 for one in record['methods'].values()]
    assert shares[0] == 1
    assert shares[1] == pytest.approx(medians[1] / medians[0], abs=0.006)
