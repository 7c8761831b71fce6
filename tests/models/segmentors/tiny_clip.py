"""A CLIPCAM small enough for tests, and its weights in the layouts of OpenAI and Hugging Face."""

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_wsss.checkpoints.text_embeddings import write_text_embeddings
from mmseg_wsss.models import CLIPCAM

WIDTH, DEPTH, HEADS, HIDDEN, PATCH, GRID, SPACE = 32, 4, 4, 64, 8, 4, 6
CLASSES, BACKGROUND = ('red', 'green', 'blue'), ('sky', 'sea')


def openai_weights() -> dict[str, torch.Tensor]:
    """Random weights of an image encoder under OpenAI's names."""
    shapes = {
        'class_embedding': (WIDTH,),
        'positional_embedding': (GRID**2 + 1, WIDTH),
        'conv1.weight': (WIDTH, 3, PATCH, PATCH),
        'proj': (WIDTH, SPACE),
    }
    norms = ['ln_pre', 'ln_post']
    for block in range(DEPTH):
        name = f'transformer.resblocks.{block}.'
        norms += [name + 'ln_1', name + 'ln_2']
        shapes |= {name + 'attn.in_proj_weight': (3 * WIDTH, WIDTH), name + 'attn.in_proj_bias': (3 * WIDTH,)}
        for layer, out, width in (('attn.out_proj', WIDTH, WIDTH), ('mlp.c_fc', HIDDEN, WIDTH)):
            shapes |= {f'{name}{layer}.weight': (out, width), f'{name}{layer}.bias': (out,)}
        shapes |= {f'{name}mlp.c_proj.weight': (WIDTH, HIDDEN), f'{name}mlp.c_proj.bias': (WIDTH,)}
    for norm in norms:
        shapes |= {f'{norm}.weight': (WIDTH,), f'{norm}.bias': (WIDTH,)}
    return {
        # small weights in the blocks: patches stay different, as those of a trained network
        f'visual.{key}': (0.1 if 'resblocks' in key else 0.5) * torch.randn(shape) + ('ln' in key and 'weight' in key)
        for key, shape in shapes.items()
    }


def hugging_face_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """OpenAI's weights as ``transformers.CLIPModel`` stores them, beside one tensor of its text encoder."""
    names = {
        'visual.class_embedding': 'embeddings.class_embedding',
        'visual.positional_embedding': 'embeddings.position_embedding.weight',
        'visual.conv1.weight': 'embeddings.patch_embedding.weight',
    }
    parts = {'ln_1': 'layer_norm1', 'ln_2': 'layer_norm2', 'mlp.c_fc': 'mlp.fc1', 'mlp.c_proj': 'mlp.fc2'}
    found = {
        'text_model.final_layer_norm.weight': torch.ones(SPACE),
        'logit_scale': torch.tensor(4.6),
        'vision_model.embeddings.position_ids': torch.arange(GRID**2 + 1)[None],
        'visual_projection.weight': state['visual.proj'].T.contiguous(),
    }
    for key, value in state.items():
        if key in names:
            found[f'vision_model.{names[key]}'] = value
        elif key.startswith(('visual.ln_pre.', 'visual.ln_post.')):
            end = key.rsplit('.', 1)[1]
            found[f'vision_model.{"pre_layrnorm" if "pre" in key else "post_layernorm"}.{end}'] = value
        elif 'resblocks' in key:
            block, name = key.removeprefix('visual.transformer.resblocks.').split('.', 1)
            layer, end = name.rsplit('.', 1)
            base = f'vision_model.encoder.layers.{block}.'
            if name.startswith('attn.in_proj_'):
                for part, piece in zip('qkv', value.chunk(3), strict=True):
                    found[f'{base}self_attn.{part}_proj.{name.removeprefix("attn.in_proj_")}'] = piece.contiguous()
            elif layer == 'attn.out_proj':
                found[f'{base}self_attn.out_proj.{end}'] = value
            else:
                found[f'{base}{parts[layer]}.{end}'] = value
    return found


def write_texts(path) -> str:
    """Random embeddings of all names."""
    rng = np.random.default_rng(5)
    write_text_embeddings(path, {name: rng.normal(size=SPACE) for name in CLASSES + BACKGROUND})
    return str(path)


def clip_config(embeddings: str, checkpoint: str | None = None, **changes) -> dict:
    """The config of the tiny model."""
    config = dict(
        type='CLIPCAM',
        data_preprocessor=dict(type='WSSSDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True),
        backbone=dict(
            type='TokenViT',
            arch=dict(embed_dims=WIDTH, num_layers=DEPTH, num_heads=HEADS, feedforward_channels=HIDDEN),
            img_size=PATCH * GRID,
            patch_size=PATCH,
            pre_norm=True,
            norm_cfg=dict(type='LN', eps=1e-5),
            layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU')),
            init_cfg=dict(type='Pretrained', checkpoint=checkpoint) if checkpoint else None,
        ),
        cam_head=dict(type='TextCAMHead', classes=CLASSES, background=BACKGROUND, embeddings=embeddings, scale=10.0),
        affinity=dict(type='FeatureAffinity', num_blocks=3),
        test_cfg=dict(cam=True),
    )
    return config | changes


def build_clip(folder, **changes) -> CLIPCAM:
    """A tiny model with its weights loaded from a file in ``folder``, for inference."""
    init_default_scope('mmseg')
    torch.save(openai_weights(), folder / 'clip.pth')
    config = clip_config(write_texts(folder / 'text.npz'), str(folder / 'clip.pth'), **changes)
    model = MODELS.build(ConfigDict(config))
    model.init_weights()
    return model.eval()
