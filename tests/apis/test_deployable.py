"""Exported networks against the network itself, at sizes that the export has not seen."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from tiny_toco import build_toco, tiny_config

from mmseg_wsss.apis.deployable import Deployable, export, write_onnx

# the grid of the position embedding (4 x 4), other ones, the smallest
SIZES = [(32, 32), (32, 48), (120, 24), (24, 200)]


def random(network):
    """With weights of a size that makes classes differ."""
    torch.manual_seed(0)
    for one in network.parameters():
        one.data.normal_(std=0.3)
    return network.eval()


@pytest.fixture(scope='module')
def toco():
    return random(build_toco())


@pytest.fixture(scope='module')
def program(toco):
    return export(toco)


def image(size):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, *size))).float()


@pytest.mark.parametrize('bgr_to_rgb', [True, False])
def test_it_is_the_whole_test_of_the_network(bgr_to_rgb):
    """mmseg loads BGR images; a network that is trained on BGR gets it."""
    mean, std = [100.0, 120.0, 140.0], [50.0, 60.0, 70.0]
    preprocessor = dict(type='WSSSDataPreProcessor', mean=mean, std=std, bgr_to_rgb=bgr_to_rgb)
    network = random(build_toco(data_preprocessor=preprocessor))
    rgb = image((32, 48))
    inputs = network.data_preprocessor(dict(inputs=[rgb[0].flip(0)], data_samples=None), False)['inputs']
    expected = network.encode_decode(inputs, [dict(ori_shape=(32, 48), img_shape=(32, 48))])
    with torch.no_grad():
        found = Deployable(network)(rgb)
    assert found.shape == (1, 4, 32, 48)
    assert found.argmax(1).unique().numel() > 1
    torch.testing.assert_close(found, F.interpolate(expected, (32, 48), mode='bilinear'))


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_the_program_takes_any_size(toco, program, size):
    given = image(size)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(given), Deployable(toco)(given))


def test_the_onnx_file_takes_any_size_and_says_what_it_needs(toco, program, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime', reason='the extra `onnx` is not installed')
    path = tmp_path / 'new' / 'toco.onnx'
    classes, palette = ('background', 'cat', 'dog', 'cow'), ((0, 0, 0), (1, 2, 3), (4, 5, 6), (7, 8, 9))
    write_onnx(program, path, classes=classes, palette=palette, patch_size=8, side=96)
    assert [one.name for one in path.parent.iterdir()] == ['toco.onnx']
    session = onnxruntime.InferenceSession(path)
    about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    expected = dict(classes=[*classes], palette=[[*one] for one in palette], patch_size=8, side=96)
    assert {key: about[key] for key in expected} == expected
    for size in SIZES:
        given = image(size)
        with torch.no_grad():
            logits = Deployable(toco)(given).numpy()
        (found,) = session.run(None, {'image': given.numpy()})
        np.testing.assert_allclose(found, logits, atol=1e-4 * np.abs(logits).max())
        assert (found.argmax(1) == logits.argmax(1)).mean() > 0.999


SHARED = dict(num_classes=4, align_corners=False, in_index=(0,))
HEADS = {
    'Segmenter': dict(SHARED, type='MaskTransformerHead', in_index=0, num_layers=1),
    'SegFormer': dict(SHARED, type='SegformerHead', in_channels=[32], channels=16, norm_cfg=dict(type='BN')),
}


@pytest.mark.parametrize('head', HEADS)
def test_a_retrained_network_with_other_decoders(head, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime', reason='the extra `onnx` is not installed')
    toco = tiny_config()
    preprocessor = dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[60.0] * 3, bgr_to_rgb=True, size=(32, 32))
    decoder = dict(HEADS[head], loss_decode=dict(type='GradientClippedCrossEntropy', patch_size=8))
    backbone = dict(toco['backbone'], out_indices=(3,))
    parts = dict(data_preprocessor=preprocessor, backbone=backbone, decode_head=decoder)
    network = random(MODELS.build(dict(type='OnlineRetraining', test_cfg=dict(mode='whole'), **parts)))
    write_onnx(export(network), tmp_path / 'it.onnx', classes=(), palette=(), patch_size=8)
    given = image((40, 56))
    with torch.no_grad():
        logits = Deployable(network)(given).numpy()
    (found,) = onnxruntime.InferenceSession(tmp_path / 'it.onnx').run(None, {'image': given.numpy()})
    varied = np.ptp(logits, axis=(2, 3)).max()  # over the image
    assert varied > 0.01
    np.testing.assert_allclose(found, logits, rtol=0, atol=1e-3 * varied)


def test_what_cannot_be_exported():
    changes = dict(backbone=dict(tiny_config()['backbone'], pos_embed_offset=0.1))
    with pytest.raises(ValueError, match='pos_embed_offset depends on the size of the image'):
        Deployable(build_toco(**changes))
    with pytest.raises(ValueError, match='data_preprocessor has no mean and std'):
        Deployable(build_toco(data_preprocessor=dict(type='WSSSDataPreProcessor')))
    toco = build_toco()
    toco.decode_head.out_channels = 1
    with pytest.raises(ValueError, match='decode_head has 1 channels for 4 classes'):
        Deployable(toco)


def test_a_network_without_a_decoder():
    from tiny_weaktr import weaktr_config

    with pytest.raises(ValueError, match='WeakTr has no decode_head: CAMs are not exported'):
        Deployable(MODELS.build(weaktr_config()))
