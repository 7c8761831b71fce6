import pytest
import torch
from published import encoder_weights, published_weights

from mmseg_wsss.models import TokenViT
from mmseg_wsss.models.backbones import load_vit_checkpoint, read_vit_state_dict
from mmseg_wsss.models.backbones.vit_checkpoint import repeated_positions

SMALL = dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=192)


def pretrained(path, **kwargs):
    return TokenViT(**kwargs, init_cfg=dict(type='Pretrained', checkpoint=str(path)))


@pytest.fixture
def timm_file(tmp_path):
    """A timm-style file with a classifier, half precision, inside the container that DeiT uses."""
    state = encoder_weights(published_weights('toco_small'))
    state['head.weight'] = torch.zeros(10, 48)
    path = tmp_path / 'timm.pth'
    torch.save({'model': {key: value.half() for key, value in state.items()}}, path)
    return path


def test_timm_names_and_containers(timm_file):
    vit = pretrained(timm_file, arch=SMALL, img_size=64)
    vit.init_weights()
    state = encoder_weights(published_weights('toco_small'))
    torch.testing.assert_close(vit.layers[2].ffn.layers[1].weight, state['blocks.2.mlp.fc2.weight'].half().float())
    torch.testing.assert_close(vit.layers[1].attn.qkv.bias, state['blocks.1.attn.qkv.bias'].half().float())
    torch.testing.assert_close(vit.ln1.weight, state['norm.weight'].half().float())


def test_position_embedding_goes_to_another_grid(timm_file):
    vit = pretrained(timm_file, arch=SMALL, img_size=96)
    vit.init_weights()
    file = read_vit_state_dict(str(timm_file))['pos_embed']
    grid = file[:, 1:].reshape(1, 4, 4, 48).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(grid, size=(6, 6), mode='bicubic', align_corners=False)
    torch.testing.assert_close(vit.pos_embed[:, 1:], resized.flatten(2).transpose(1, 2))
    torch.testing.assert_close(vit.pos_embed[:, :1], file[:, :1])


def test_recorded_repetition_of_positions(golden):
    """The published network keeps the positions of class tokens and of patches apart."""
    recorded = golden('mct_plus_pos_embed')
    repeated = repeated_positions(recorded['pretrained'], (6, 6))
    assert torch.equal(repeated[:, 1:], recorded['patch_part'])
    assert torch.equal(repeated[:, :1].expand(-1, int(recorded['classes']), -1), recorded['cls_part'])


def test_positions_are_repeated_where_the_config_says_so(timm_file):
    init_cfg = dict(type='Pretrained', checkpoint=str(timm_file), repeat_positions=True)
    vit = TokenViT(arch=SMALL, img_size=(64, 192), num_cls_tokens=3, init_cfg=init_cfg)
    vit.init_weights()
    file = read_vit_state_dict(str(timm_file))['pos_embed']
    grid = vit.pos_embed[0, 3:].unflatten(0, (4, 12))
    for row, column in ((0, 0), (0, 2), (0, 3), (1, 11), (3, 5)):
        assert torch.equal(grid[row, column], file[0, 1 + 4 * row + column // 3])
    assert torch.equal(vit.pos_embed[:, :3], file[:, :1].expand(-1, 3, -1))


def test_one_position_is_repeated_everywhere():
    one = torch.tensor([[[1.0], [2.0]]])
    assert repeated_positions(one, (2, 3)).flatten().tolist() == [1, 2, 2, 2, 2, 2, 2]


def test_positions_that_cannot_be_repeated_are_refused(timm_file):
    vit = TokenViT(arch=SMALL, img_size=96)
    with pytest.raises(ValueError, match=r'^positions of 4x4 patches cannot be repeated to 6x6, .*: change img_size'):
        load_vit_checkpoint(vit, str(timm_file), repeat_positions=True)
    with pytest.raises(ValueError, match='cannot be repeated to 8x6'):
        repeated_positions(torch.zeros(1, 17, 2), (8, 6))


def test_misfit_names_keys_shapes_and_reason(timm_file):
    with pytest.raises(ValueError, match='does not fit') as error:
        pretrained(timm_file, arch=dict(SMALL, num_layers=5), img_size=64, patch_size=8).init_weights()
    text = str(error.value)
    assert str(timm_file) in text
    assert '12 missing in the file: layers.4.' in text
    assert 'patch_embed.projection.weight: file (48, 3, 16, 16), model (48, 3, 8, 8)' in text
    assert 'set arch and patch_size' in text


def test_layer_scale_misfit_says_what_to_set(tmp_path):
    state = encoder_weights(published_weights('toco_small'))
    for index in range(4):
        state[f'blocks.{index}.ls1.gamma'] = state[f'blocks.{index}.ls2.gamma'] = torch.full((48,), 0.1)
    path = tmp_path / 'dino.pth'
    torch.save(state, path)
    with pytest.raises(ValueError, match='set layer_scale_init_value'):
        pretrained(path, arch=SMALL, img_size=64).init_weights()
    vit = pretrained(path, arch=SMALL, img_size=64, layer_scale_init_value=1e-5)
    vit.init_weights()
    torch.testing.assert_close(vit.layers[3].attn.gamma1.weight, torch.full((48,), 0.1))


def test_anything_but_tensors_is_refused(tmp_path):
    path = tmp_path / 'odd.pth'
    torch.save({'blocks.0.norm1.weight': [1, 2, 3]}, path)
    with pytest.raises(ValueError, match='not a state dict of tensors'):
        read_vit_state_dict(str(path))


@pytest.mark.parametrize(
    ('file', 'settings', 'blocks'),
    [
        ('deit_tiny_patch16_224.pth', dict(arch='deit-tiny'), 12),
        ('vit_tiny_patch16_224_augreg_in21k_ft_in1k.pth', dict(arch='deit-tiny'), 12),
        (
            'dinov2_vits14.pth',
            dict(arch='dinov2-small', img_size=518, patch_size=14, layer_scale_init_value=1e-5),
            12,
        ),
    ],
)
def test_published_files_load_whole(vit_file, file, settings, blocks):
    path = vit_file(file)
    vit = pretrained(path, **settings).eval()
    vit.init_weights()
    raw = torch.load(path, weights_only=True)
    assert len(vit.layers) == blocks
    torch.testing.assert_close(vit.layers[-1].attn.proj.weight, raw[f'blocks.{blocks - 1}.attn.proj.weight'].float())
    torch.testing.assert_close(vit.pos_embed, raw['pos_embed'].float())
