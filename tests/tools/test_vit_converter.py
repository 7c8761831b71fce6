import runpy
from pathlib import Path

import pytest
import torch
from published import encoder_weights, published_weights

from mmseg_wsss.models import TokenViT

convert = runpy.run_path(str(Path(__file__).parents[2] / 'tools' / 'model_converters' / 'vit.py'))['convert']


def test_converted_file_gives_the_same_tokens_and_its_config(tmp_path):
    state = encoder_weights(published_weights('toco_small'))
    source, target = tmp_path / 'timm.pth', tmp_path / 'out.pth'
    torch.save({**state, 'head.bias': torch.zeros(3)}, source)
    config = convert(str(source), str(target), num_heads=3)
    arch = dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=192)
    assert config == dict(type='TokenViT', arch=arch, patch_size=16, img_size=64)
    direct, converted = (TokenViT(arch=arch, img_size=64).eval() for _ in range(2))
    direct.load_state_dict(state)
    converted.load_state_dict(torch.load(target, weights_only=True))
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(converted(images)[0], direct(images)[0])


def test_nothing_is_written_when_the_file_is_no_vit(tmp_path):
    source, target = tmp_path / 'cnn.pth', tmp_path / 'out.pth'
    torch.save({'layer1.0.conv1.weight': torch.zeros(4, 4, 3, 3)}, source)
    with pytest.raises(ValueError, match='not the weights of a plain ViT'):
        convert(str(source), str(target))
    assert list(tmp_path.iterdir()) == [source]


def test_dinov2_file(vit_file, tmp_path):
    config = convert(str(vit_file('dinov2_vits14.pth')), str(tmp_path / 'out.pth'))
    assert config['arch'] == dict(embed_dims=384, num_layers=12, num_heads=6, feedforward_channels=1536)
    assert (config['patch_size'], config['img_size'], config['layer_scale_init_value']) == (14, 518, 1e-5)
