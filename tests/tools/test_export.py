"""tools/deployment: what export.py writes and refuses, and masks by run_onnx.py, which imports no torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tool_module import TOOLS, load_tool
from toy_segmentation import build_model

from mmseg_wsss.apis.deployable import Deployable

WITHOUT_TORCH = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
print(sorted({'torch', 'mmengine', 'mmseg_wsss'} & set(sys.modules)))
"""


@pytest.fixture(scope='module')
def tool():
    return load_tool('deployment/export.py')


def arguments(toy, out):
    return [str(toy / 'toy.py'), str(toy / 'toy.pth'), '--out', str(out)]


def test_masks_without_torch(tool, toy, tmp_path, capsys):
    pytest.importorskip('onnxruntime', reason='the extra `onnx` is not installed')
    model = tmp_path / 'toy.onnx'
    tool.main([*arguments(toy, model), '--side', '64'])
    assert '100.000 % of the pixels have the same class' in capsys.readouterr().out
    photos = [str(toy / f'images/{number}.png') for number in (0, 1)]
    command = [sys.executable, '-c', WITHOUT_TORCH, str(TOOLS / 'deployment/run_onnx.py'), str(model), *photos]
    done = subprocess.run([*command, '--out', str(tmp_path / 'masks')], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == '[]'
    network = build_model(toy)
    network.load_state_dict(torch.load(toy / 'toy.pth', weights_only=True)['state_dict'])
    for path, size in zip(photos, ((64, 56), (56, 64)), strict=True):  # 48 x 40 enlarged to patches of 8
        photo = Image.open(path)
        pixels = torch.from_numpy(np.array(photo.resize(size))).permute(2, 0, 1)[None].float()
        with torch.no_grad():
            ids = Deployable(network.eval())(pixels)[0].argmax(0).numpy().astype(np.uint8)
        expected = np.array(Image.fromarray(ids).resize(photo.size, Image.Resampling.NEAREST))
        mask = Image.open(tmp_path / 'masks' / Path(path).name)
        assert (np.array(mask) == expected).mean() > 0.999
        assert len(np.unique(mask)) > 1
        assert mask.mode == 'P'


def test_a_program_of_torch_export(tool, toy, tmp_path, capsys):
    tool.main(arguments(toy, tmp_path / 'toy.pt2'))
    assert 'toy.pt2: 0.' in capsys.readouterr().out
    module = torch.export.load(tmp_path / 'toy.pt2').module()
    assert module(torch.zeros(1, 3, 24, 80)).shape == (1, 3, 24, 80)


def test_a_file_that_differs_is_an_error(tool, toy, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, 'reader', lambda path: lambda image: np.zeros((1, 3, *image.shape[2:]), np.float32))
    with pytest.raises(SystemExit, match=r'toy\.pt2 differs from the network by more than 0\.001'):
        tool.main(arguments(toy, tmp_path / 'toy.pt2'))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (['--out', 'toy.pth'], '--out must end in .onnx or .pt2, got toy.pth'),
        (['--num', '0'], '--num must be at least 1'),
    ],
)
def test_command_lines_that_cannot_be(tool, toy, tmp_path, capsys, changes, message):
    with pytest.raises(SystemExit):
        tool.main([*arguments(toy, tmp_path / 'toy.pt2'), *changes])
    assert message in capsys.readouterr().err
