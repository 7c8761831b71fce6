import logging
import weakref

import pytest
import torch
from mmengine.logging import MMLogger
from torch import nn

from mmseg_wsss.models import TokenViT

SMALL = dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=192)


def test_a_recorded_pass_gives_the_same_tokens_and_the_blocks_own_attention():
    torch.manual_seed(0)
    vit = TokenViT(arch=SMALL, img_size=64, out_indices=(0, 3), layer_scale_init_value=0.5).eval()
    vit.init_weights()
    images = torch.randn(2, 3, 48, 80)
    with torch.no_grad():
        plain, recorded = vit.tokens(images), vit.tokens(images, record=lambda attention: attention)
        x, _ = vit._embed(images)
        layer = vit.layers[0]
        by_hand = layer.attn(layer.ln1(x))
        query, key, _ = layer.attn.qkv(layer.ln1(x)).unflatten(-1, (3, 3, 16)).permute(2, 0, 3, 1, 4)
    for left, right in zip(plain.maps, recorded.maps, strict=True):
        torch.testing.assert_close(left, right)
    assert plain.recorded == ()
    assert len(recorded.recorded) == 4
    torch.testing.assert_close(recorded.recorded[0].output, by_hand)
    torch.testing.assert_close(recorded.recorded[0].query, query)
    torch.testing.assert_close(recorded.recorded[0].key, key)


def test_only_what_record_returns_is_kept():
    vit = TokenViT(arch=SMALL, img_size=32, out_indices=(3,)).eval()
    vit.init_weights()
    seen = []

    def record(attention):
        seen.append(weakref.ref(attention.output))
        return len(seen)

    with torch.no_grad():
        assert vit.tokens(torch.randn(1, 3, 32, 32), record=record).recorded == (1, 2, 3, 4)
    assert [output() for output in seen] == [None] * 4


def test_any_size():
    vit = TokenViT(arch=SMALL, img_size=64, out_indices=(-1,)).eval()
    vit.init_weights()
    images = torch.randn(1, 3, 45, 16)
    with torch.no_grad():
        ragged, cut = vit(images)[0], vit(images[:, :, :32])[0]
    assert ragged.shape == (1, 48, 2, 1)
    torch.testing.assert_close(ragged, cut)  # rows that fill no patch are not seen


@pytest.mark.parametrize(('height', 'width', 'grid'), [(15, 40, (1, 2)), (40, 15, (2, 1)), (3, 1, (1, 1))])
def test_a_side_below_a_patch_is_filled_with_its_last_pixels(height, width, grid):
    vit = TokenViT(arch=SMALL, img_size=64, out_indices=(-1,)).eval()
    vit.init_weights()
    images = torch.randn(2, 3, height, width)
    rows, columns = (torch.arange(max(16, side)).clamp(max=side - 1) for side in (height, width))
    filled = images[:, :, rows][..., columns]
    with torch.no_grad():
        actual, expected = vit(images)[0], vit(filled)[0]
    assert actual.shape[-2:] == grid
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_several_class_tokens_start_as_copies_of_one():
    source = TokenViT(arch=SMALL, img_size=64, out_indices=(-1,))
    source.init_weights()
    vit = TokenViT(arch=SMALL, img_size=64, out_indices=(-1,), num_cls_tokens=5).eval()
    vit.load_state_dict(source.state_dict())
    assert vit.cls_token.shape == (1, 5, 48)
    torch.testing.assert_close(vit.cls_token, source.cls_token.expand(-1, 5, -1))
    torch.testing.assert_close(vit.pos_embed[:, :5], source.pos_embed[:, :1].expand(-1, 5, -1))
    torch.testing.assert_close(vit.pos_embed[:, 5:], source.pos_embed[:, 1:])
    with torch.no_grad():
        tokens = vit.tokens(torch.randn(1, 3, 64, 64)).cls_token
    torch.testing.assert_close(tokens, tokens[:, :1].expand(-1, 5, -1), rtol=1e-4, atol=1e-5)


def test_class_tokens_of_another_count_are_named():
    source = TokenViT(arch=SMALL, img_size=64, out_indices=(-1,), num_cls_tokens=3)
    vit = TokenViT(arch=SMALL, img_size=64, out_indices=(-1,), num_cls_tokens=5)
    with pytest.raises(RuntimeError, match=r'cls_token holds 3 class tokens, the model 5: .*another number of classes'):
        vit.load_state_dict(source.state_dict())


def test_frozen_position_embedding_gets_no_gradient():
    vit = TokenViT(arch=SMALL, img_size=64, out_indices=(-1,), freeze_pos_embed=True)
    vit(torch.randn(1, 3, 64, 64))[0].sum().backward()
    assert vit.pos_embed.grad is None
    assert vit.cls_token.grad is not None


def warnings_of(load) -> list[str]:
    """What mmengine's loggers say at the level of a warning or above meanwhile."""
    seen = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: seen.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        load()
    finally:
        logger.removeHandler(handler)
    return seen


def test_a_trained_position_embedding_of_another_grid_is_resized_with_a_warning(tmp_path):
    trained = nn.ModuleDict({'backbone': TokenViT(arch=SMALL, img_size=96)}).state_dict()
    network = nn.ModuleDict({'backbone': TokenViT(arch=SMALL, img_size=(64, 48), interpolate_mode='bilinear')})
    (message,) = warnings_of(lambda: network.load_state_dict(trained))
    assert (
        'backbone.pos_embed is a grid of 6x6 in the checkpoint and of 4x3 in the model: it is resized (bilinear)'
        in message
    )
    assert 'img_size=96 in the backbone' in message
    same = nn.ModuleDict({'backbone': TokenViT(arch=SMALL, img_size=96)})
    assert warnings_of(lambda: same.load_state_dict(trained)) == []
    # a pretrained file is meant to be resized
    torch.save({key.removeprefix('backbone.'): value for key, value in trained.items()}, tmp_path / 'vit.pth')
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'vit.pth'))
    vit = TokenViT(arch=SMALL, img_size=64, init_cfg=pretrained)
    assert warnings_of(vit.init_weights) == []
    assert vit.pos_embed.shape == (1, 17, 48)


def test_registers_stand_before_the_class_tokens_at_random_positions():
    """A pretrained class token is copied to all of them, its position to the class tokens alone."""
    source = TokenViT(arch=SMALL, img_size=64, out_indices=(-1,))
    source.init_weights()
    vit = TokenViT(arch=SMALL, img_size=64, out_indices=(-1,), num_cls_tokens=3, num_registers=200).eval()
    vit.load_state_dict(source.state_dict())
    assert torch.equal(vit.cls_token, source.cls_token.expand(-1, 203, -1))
    assert torch.equal(vit.pos_embed[:, 200:203], source.pos_embed[:, :1].expand(-1, 3, -1))
    assert torch.equal(vit.pos_embed[:, 203:], source.pos_embed[:, 1:])
    drawn = vit.pos_embed[:, :200]
    assert drawn.abs().max() <= 2
    assert drawn.std().item() == pytest.approx(0.88, abs=0.02), 'a normal of 1, cut at 2'
    with torch.no_grad():
        tokens = vit.tokens(torch.randn(2, 3, 64, 48))
    assert tokens.cls_token.shape == (2, 3, 48)
    torch.testing.assert_close(tokens.cls_token[:, 0], tokens.cls_token[:, 2], rtol=1e-4, atol=1e-5)
    assert tokens.maps[0].shape == (2, 48, 4, 3)


def test_registers_take_part_and_are_not_returned():
    vit = TokenViT(arch=SMALL, img_size=64, out_indices=(-1,), num_cls_tokens=2, num_registers=3).eval()
    vit.init_weights()
    images, seen = torch.randn(1, 3, 64, 64), []
    with torch.no_grad():
        before = vit.tokens(images, record=lambda attention: seen.append(attention.output[:, 3:5]))
        vit.cls_token[:, :3].normal_()  # more of one value would leave by the norm
        after = vit.tokens(images)
    assert before.cls_token.shape == (1, 2, 48)
    assert seen[0].shape == (1, 2, 48)
    assert (before.cls_token - after.cls_token).abs().max() > 1e-3
    assert (before.maps[0] - after.maps[0]).abs().max() > 1e-3


def test_trained_registers_are_loaded_as_they_are():
    first, second = (TokenViT(arch=SMALL, img_size=64, num_cls_tokens=2, num_registers=3) for _ in range(2))
    first.init_weights()
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.cls_token, first.cls_token)
    assert torch.equal(second.pos_embed, first.pos_embed)
