"""tools/model_converters/published.py, from the command line to a network that mmengine loads."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.runner import load_checkpoint
from published import published_weights
from tiny_weaktr import build_weaktr

from mmseg_wsss.checkpoints import WEAKTR_CAM, checked, read_weights

main = runpy.run_path(str(Path(__file__).parents[2] / 'tools' / 'model_converters' / 'published.py'))['main']


def test_there_and_back(tmp_path, capsys):
    state = published_weights('weaktr_small')
    torch.save({'model': {f'module.{key}': value.half() for key, value in state.items()}}, tmp_path / 'in.pth')
    main(['weaktr-cam', str(tmp_path / 'in.pth'), str(tmp_path / 'ours.safetensors')])
    assert capsys.readouterr().out.strip().endswith(f'48 tensors, from 50 of {tmp_path / "in.pth"}')
    main(['weaktr-cam', str(tmp_path / 'ours.safetensors'), str(tmp_path / 'back.pth'), '--reverse'])
    back = read_weights(tmp_path / 'back.pth')
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key].half()) for key in state if not key.startswith('norm.'))


def test_our_own_network_goes_out_and_comes_in(tmp_path):
    source, target = build_weaktr(), build_weaktr()
    torch.save(dict(state_dict=source.state_dict(), meta=dict(iter=3)), tmp_path / 'iter_3.pth')
    main(['weaktr-cam', str(tmp_path / 'iter_3.pth'), str(tmp_path / 'theirs.safetensors'), '--reverse'])
    assert 'adaptive_attention_fusion.attn_feat_ffn.0.bias' in read_weights(tmp_path / 'theirs.safetensors')
    main(['weaktr-cam', str(tmp_path / 'theirs.safetensors'), str(tmp_path / 'again.safetensors')])
    load_checkpoint(target, checked(tmp_path / 'again.safetensors'), map_location='cpu', strict=True)
    assert all(torch.equal(value, target.state_dict()[key]) for key, value in source.state_dict().items())
    assert WEAKTR_CAM.to_ours(read_weights(tmp_path / 'theirs.safetensors')).keys() == source.state_dict().keys()


def test_errors_name_the_file_and_leave_nothing(tmp_path):
    torch.save(published_weights('weaktr_small'), tmp_path / 'in.pth')
    with pytest.raises(SystemExit, match=r'error: .*in\.pth: not the weights of published ToCo under their names'):
        main(['toco', str(tmp_path / 'in.pth'), str(tmp_path / 'out.pth')])
    with pytest.raises(SystemExit, match=r'error: there is no checkpoint file .*absent\.pth'):
        main(['toco', str(tmp_path / 'absent.pth'), str(tmp_path / 'out.pth')])
    with pytest.raises(SystemExit, match=r'error: .*out\.npy: a weight file ends in'):
        main(['weaktr-cam', str(tmp_path / 'in.pth'), str(tmp_path / 'out.npy')])
    assert [path.name for path in tmp_path.iterdir()] == ['in.pth']


def test_download_tool_lists_names_and_fails_for_unknown_ones(tmp_path, capsys, monkeypatch):
    path = Path(__file__).parents[2] / 'tools' / 'download_weights.py'
    monkeypatch.setattr(sys, 'argv', [str(path)])
    monkeypatch.setenv('MMSEG_WSSS_CACHE', str(tmp_path))
    tool = runpy.run_path(str(path))['main']
    with pytest.raises(SystemExit, match='0'):
        tool([])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f'cache folder: {tmp_path}'
    assert 'deit_small  https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth' in lines
    (tmp_path / 'dinov2_vits14_pretrain.pth').write_bytes(b'there')  # no hash is known of it
    with pytest.raises(SystemExit, match='1'):
        tool(['dinov2_vits14', 'dinov3'])
    out, err = capsys.readouterr()
    assert out.strip() == str(tmp_path / 'dinov2_vits14_pretrain.pth')
    assert err.startswith("error: 'dinov3' is neither an http(s) URL nor one of")
