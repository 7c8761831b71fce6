"""Everybody's files against the forward pass written from the formula, with the names that the files have."""

import argparse
import runpy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mmseg_wsss.checkpoints import write_weights
from mmseg_wsss.models import TokenViT

WIDTH, DEPTH, HEADS, HIDDEN, PATCH, GRID = 32, 3, 4, 64, 8, 4
ARCH = dict(embed_dims=WIDTH, num_layers=DEPTH, num_heads=HEADS, feedforward_channels=HIDDEN)
CLIP = dict(
    pre_norm=True,
    norm_cfg=dict(type='LN', eps=1e-5),
    layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU')),
)
TIMM = dict(
    cls='cls_token',
    position='pos_embed',
    patches='patch_embed.proj',
    norm1='blocks.{}.norm1',
    qkv='blocks.{}.attn.qkv.',
    out='blocks.{}.attn.proj',
    norm2='blocks.{}.norm2',
    fc1='blocks.{}.mlp.fc1',
    fc2='blocks.{}.mlp.fc2',
    final='norm',
)
OPENAI = dict(
    cls='visual.class_embedding',
    position='visual.positional_embedding',
    patches='visual.conv1',
    before='visual.ln_pre',
    norm1='visual.transformer.resblocks.{}.ln_1',
    qkv='visual.transformer.resblocks.{}.attn.in_proj_',
    out='visual.transformer.resblocks.{}.attn.out_proj',
    norm2='visual.transformer.resblocks.{}.ln_2',
    fc1='visual.transformer.resblocks.{}.mlp.c_fc',
    fc2='visual.transformer.resblocks.{}.mlp.c_proj',
    final='visual.ln_post',
)


def drawn(names, *, clip):
    """Random weights under these names."""
    vector = (WIDTH,)
    shapes = {
        names['cls']: vector if clip else (1, 1, WIDTH),
        names['position']: (GRID**2 + 1, WIDTH) if clip else (1, GRID**2 + 1, WIDTH),
        f'{names["patches"]}.weight': (WIDTH, 3, PATCH, PATCH),
    }
    if not clip:
        shapes[f'{names["patches"]}.bias'] = vector
    layers = [(names['final'], vector)] + ([(names['before'], vector)] if clip else [])
    for index in range(DEPTH):
        for name, shape in (('norm1', vector), ('norm2', vector), ('out', (WIDTH, WIDTH))):
            layers.append((names[name].format(index), shape))
        layers.append((names['fc1'].format(index), (HIDDEN, WIDTH)))
        layers.append((names['fc2'].format(index), (WIDTH, HIDDEN)))
        shapes[names['qkv'].format(index) + 'weight'] = (3 * WIDTH, WIDTH)
        shapes[names['qkv'].format(index) + 'bias'] = (3 * WIDTH,)
    for name, shape in layers:
        shapes |= {f'{name}.weight': shape, f'{name}.bias': shape[:1]}
    return {key: 0.2 * torch.randn(shape) + (len(shape) == 1) * 0.5 for key, shape in shapes.items()}


def by_formula(weights, names, images, *, activation, eps):
    """Tokens (B, 1 + N, D): pre-norm transformer blocks, each on its own, head by head."""

    def norm(x, name):
        return F.layer_norm(x, (WIDTH,), weights[f'{name}.weight'], weights[f'{name}.bias'], eps)

    def linear(x, name):
        return F.linear(x, weights[f'{name}.weight'], weights[f'{name}.bias'])

    patches = F.conv2d(
        images, weights[f'{names["patches"]}.weight'], weights.get(f'{names["patches"]}.bias'), stride=PATCH
    )
    cls = weights[names['cls']].reshape(1, 1, WIDTH).expand(len(images), -1, -1)
    x = torch.cat((cls, patches.flatten(2).mT), dim=1) + weights[names['position']]
    if 'before' in names:
        x = norm(x, names['before'])
    for index in range(DEPTH):
        own = {role: name.format(index) for role, name in names.items()}
        qkv = F.linear(norm(x, own['norm1']), weights[own['qkv'] + 'weight'], weights[own['qkv'] + 'bias'])
        queries, keys, values = (part.chunk(HEADS, dim=-1) for part in qkv.chunk(3, dim=-1))
        heads = [
            torch.softmax(q @ k.mT / (WIDTH // HEADS) ** 0.5, dim=-1) @ v
            for q, k, v in zip(queries, keys, values, strict=True)
        ]
        x = x + linear(torch.cat(heads, dim=-1), own['out'])
        x = x + linear(activation(linear(norm(x, own['norm2']), own['fc1'])), own['fc2'])
    return norm(x, names['final'])


def assert_forward(path, weights, names, *, activation, eps, **kwargs):
    vit = TokenViT(
        arch=ARCH,
        img_size=PATCH * GRID,
        patch_size=PATCH,
        init_cfg=dict(type='Pretrained', checkpoint=str(path)),
        **kwargs,
    ).eval()
    vit.init_weights()
    images = torch.randn(2, 3, PATCH * GRID, PATCH * GRID)
    with torch.no_grad():
        tokens = vit.tokens(images)
        expected = by_formula(weights, names, images, activation=activation, eps=eps)
    torch.testing.assert_close(tokens.cls_token, expected[:, :1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(tokens.maps[-1].flatten(2).mT, expected[:, 1:], rtol=1e-4, atol=1e-4)
    return vit


def quick_gelu(x):
    return x * torch.sigmoid(1.702 * x)


@pytest.fixture
def clip():
    """The image encoder under OpenAI's names, beside parts of the text encoder that have the same names within."""
    encoder = drawn(OPENAI, clip=True)
    text = {
        'positional_embedding': torch.zeros(77, 8),
        'transformer.resblocks.0.ln_1.weight': torch.zeros(8),
        'logit_scale': torch.tensor(4.6),
        'visual.proj': torch.zeros(WIDTH, 8),
    }
    return encoder, text


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_clip(tmp_path, clip, suffix):
    encoder, text = clip
    write_weights({**text, **encoder}, tmp_path / f'clip{suffix}')
    assert_forward(tmp_path / f'clip{suffix}', encoder, OPENAI, activation=quick_gelu, eps=1e-5, **CLIP)


def test_clip_in_a_plain_vit_says_what_to_set(tmp_path, clip):
    write_weights(clip[0], tmp_path / 'clip.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'clip.pth'))
    with pytest.raises(ValueError, match=r'clip\.pth does not fit') as error:
        TokenViT(arch=ARCH, img_size=PATCH * GRID, patch_size=PATCH, init_cfg=init_cfg).init_weights()
    assert "set pre_norm=True and\n  norm_cfg=dict(type='LN', eps=1e-5) in the backbone." in str(error.value)
    assert "layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU'))" in str(error.value)


def test_converted_clip_has_its_config_and_any_number_of_class_tokens(tmp_path, clip):
    convert = runpy.run_path(str(Path(__file__).parents[3] / 'tools' / 'model_converters' / 'vit.py'))['convert']
    write_weights(clip[0], tmp_path / 'clip.pth')
    config = convert(str(tmp_path / 'clip.pth'), str(tmp_path / 'out.safetensors'), num_heads=HEADS)
    assert config.pop('type') == 'TokenViT'
    assert config['pre_norm']
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'out.safetensors'))
    config |= dict(layer_cfgs=CLIP['layer_cfgs'], img_size=PATCH * 6, num_cls_tokens=5, init_cfg=init_cfg)
    vit = TokenViT(**config)
    vit.init_weights()
    encoder = clip[0]
    torch.testing.assert_close(vit.cls_token, encoder['visual.class_embedding'].expand(1, 5, -1))
    position = encoder['visual.positional_embedding']
    grid = position[1:].T.reshape(1, WIDTH, GRID, GRID)
    resized = F.interpolate(grid, size=(6, 6), mode='bicubic', align_corners=False).flatten(2).mT
    torch.testing.assert_close(vit.pos_embed, torch.cat((position[:1].expand(1, 5, -1), resized), dim=1))


def sine_cosine(width, side):
    """MAE's fixed position embedding (1, 1 + N, D): zeros for the class token, the columns' half, the rows' half."""
    table = torch.zeros(1, 1 + side * side, width)
    for row in range(side):
        for column in range(side):
            for index in range(width // 4):
                frequency = 10_000 ** (-index / (width / 4))
                place = table[0, 1 + row * side + column]
                for half, at in enumerate((column, row)):
                    start = half * width // 2
                    place[start + index] = torch.sin(torch.tensor(at * frequency))
                    place[start + width // 4 + index] = torch.cos(torch.tensor(at * frequency))
    return table


def test_mae_with_and_without_its_decoder(tmp_path):
    weights = drawn(TIMM, clip=False)
    weights['pos_embed'] = sine_cosine(WIDTH, GRID)
    decoder = {
        'mask_token': torch.zeros(1, 1, 16),
        'decoder_embed.weight': torch.zeros(16, WIDTH),
        'decoder_pos_embed': torch.zeros(1, GRID**2 + 1, 16),
        'decoder_blocks.0.norm1.weight': torch.zeros(16),
        'decoder_norm.bias': torch.zeros(16),
        'decoder_pred.weight': torch.zeros(192, 16),
    }
    for name, extra in (('pretrain', {}), ('whole', decoder)):
        torch.save({'model': weights | extra}, tmp_path / f'{name}.pth')
        vit = assert_forward(tmp_path / f'{name}.pth', weights, TIMM, activation=F.gelu, eps=1e-6)
        torch.testing.assert_close(vit.pos_embed, weights['pos_embed'])


def test_dino_training_checkpoint_gives_the_teacher(tmp_path):
    teacher, student = drawn(TIMM, clip=False), drawn(TIMM, clip=False)
    heads = {'head.mlp.0.weight': torch.zeros(8, WIDTH), 'head.last_layer.weight_g': torch.ones(4, 1)}
    torch.save(
        dict(
            student={f'module.backbone.{key}': value for key, value in student.items()},
            teacher={f'backbone.{key}': value for key, value in teacher.items()} | heads,
            args=argparse.Namespace(arch='vit_small'),
            epoch=100,
        ),
        tmp_path / 'checkpoint.pth',
    )
    assert_forward(tmp_path / 'checkpoint.pth', teacher, TIMM, activation=F.gelu, eps=1e-6)
