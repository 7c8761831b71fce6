"""The deployment benchmark on a random toy ToCo: every form is there, onnxruntime agrees, the record is complete."""

import json
import sys
from pathlib import Path

import pytest
from toy_segmentation import make_toy

pytest.importorskip('onnxruntime', reason='the extra `onnx` is not installed')
sys.path.insert(0, str(Path(__file__).parents[1] / 'benchmarks'))

import deployment


def test_forms_of_a_network(tmp_path, capsys):
    toy = make_toy(tmp_path)
    out = tmp_path / 'out.json'
    command = [str(toy / 'toy.py'), str(toy / 'toy.pth'), '--images', '2', '--side', '48', '--json', str(out)]
    deployment.main(command)
    (record,) = json.loads(out.read_text())
    assert (record['images'], record['side']) == (2, 48)
    found = record['results']['toy']
    assert [*found] == [
        'PyTorch, float32',
        'PyTorch, bfloat16 autocast',
        'onnxruntime, float32',
        'onnxruntime, int8 weights',
    ]
    assert found['PyTorch, float32']['largest difference'] == 0
    assert found['onnxruntime, float32']['largest difference'] < 1e-3
    assert found['onnxruntime, float32']['same pixels'] > 0.999
    assert 1e-3 < found['onnxruntime, int8 weights']['largest difference'] < 2
    assert all(one['CPU s per image'] > 0 for one in found.values())
    table = capsys.readouterr().out.splitlines()
    assert sum(line.startswith('| toy | ') for line in table) == 4


def test_every_config_needs_a_checkpoint(capsys):
    with pytest.raises(SystemExit):
        deployment.parse_args(['config.py'])
    assert 'every CONFIG needs a CHECKPOINT' in capsys.readouterr().err
