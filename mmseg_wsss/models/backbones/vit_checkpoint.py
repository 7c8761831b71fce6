"""Load published ViT weights into :class:`TokenViT`: names, shapes, and the message when a file does not fit."""

import logging
import re
from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ...checkpoints import CLIP, TIMM, read_weights, renamed, report_problems, unchecked

# Parts of a classification or self-supervised checkpoint that a backbone has no use for.
_UNUSED = re.compile(r'^(head|head_dist|fc_norm|pre_logits|mask_token|decoder(_\w+)?|dino_head|ibot_head)(\.|$)')
_CLIP_PREFIX = 'visual.'  # of its image encoder
# A file does not say which activation it was trained with.
_CLIP_ACTIVATION = (
    "OpenAI's own weights were trained with QuickGELU: layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU'))"
)


def to_mmpretrain_names(state_dict: dict[str, Tensor], prefix: str = '') -> None:
    """Rename timm-style keys in place; keys that already have mmpretrain's names stay.

    Args:
        state_dict: the weights.
        prefix: of the transformer's keys, e.g. ``'backbone.'``; other keys are left alone.
    """
    for key in [key for key in state_dict if key.startswith(prefix)]:
        name = prefix + renamed(key[len(prefix) :], TIMM)
        if name != key:
            state_dict[name] = state_dict.pop(key)


def _clip_image_encoder(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """CLIP's image encoder under mmpretrain's names, without its projection and without the text encoder."""
    encoder = {
        renamed(key, CLIP): value
        for key, value in state.items()
        if key.startswith(_CLIP_PREFIX) and key != f'{_CLIP_PREFIX}proj'
    }
    encoder['cls_token'] = encoder['cls_token'].reshape(1, 1, -1)  # (D,)
    encoder['pos_embed'] = encoder['pos_embed'][None]  # (1 + N, D)
    return encoder


_HF_NAMES = {
    'embeddings.class_embedding': 'class_embedding',
    'embeddings.patch_embedding.weight': 'conv1.weight',
    'embeddings.position_embedding.weight': 'positional_embedding',
    'pre_layrnorm.': 'ln_pre.',  # the library's own spelling
    'post_layernorm.': 'ln_post.',
    'encoder.layers.': 'transformer.resblocks.',
    'self_attn.out_proj.': 'attn.out_proj.',
    'layer_norm1.': 'ln_1.',
    'layer_norm2.': 'ln_2.',
    'mlp.fc1.': 'mlp.c_fc.',
    'mlp.fc2.': 'mlp.c_proj.',
}


def _openai_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """CLIP's image encoder under OpenAI's names, from those of Hugging Face; names of other files stay as they are."""
    state = {key.removeprefix('module.'): value for key, value in state.items()}
    if not any(key.startswith('vision_model.') for key in state):
        return state
    found = {}
    for key, value in state.items():
        if key.startswith('vision_model.') and not key.endswith('position_ids'):
            name = key.removeprefix('vision_model.')
            for theirs, ours in _HF_NAMES.items():
                name = name.replace(theirs, ours)
            found[_CLIP_PREFIX + name] = value
    for key in [key for key in found if '.self_attn.q_proj.' in key]:
        names = [key.replace('q_proj', f'{part}_proj') for part in 'qkv']
        if all(name in found for name in names):  # otherwise they are reported as unknown
            found[key.replace('self_attn.q_proj.', 'attn.in_proj_')] = torch.cat([found.pop(name) for name in names])
    if 'visual_projection.weight' in state:
        found[f'{_CLIP_PREFIX}proj'] = state['visual_projection.weight'].T
    return found


def read_clip_projection(path: str) -> Tensor:
    """The projection (E, D) of CLIP's image encoder into the space that it shares with texts.

    Args:
        path: path or URL of a file with OpenAI's, OpenCLIP's or Hugging Face's names.

    Raises:
        ValueError: it has none.
    """
    state = _openai_names(read_weights(unchecked(path)))
    if f'{_CLIP_PREFIX}proj' not in state:
        raise ValueError(f'{path} has no projection (visual.proj or visual_projection.weight): it is not a CLIP file')
    return state[f'{_CLIP_PREFIX}proj'].float().T.contiguous()


def read_vit_state_dict(path: str) -> dict[str, Tensor]:
    """Read a checkpoint (path or URL) and return the transformer's weights in float32 under mmpretrain's names.

    Containers (``model``, ``state_dict``, ``teacher``) and prefixes (``module.``, ``backbone.``) are unwrapped; heads,
    MAE's decoder and CLIP's text encoder are dropped.

    Raises:
        ValueError: the file holds anything but a dictionary of tensors.
    """
    state = {
        re.sub(r'^(backbone\.|encoder\.)?', '', key): value.float()
        for key, value in _openai_names(read_weights(path)).items()
    }
    if f'{_CLIP_PREFIX}class_embedding' in state:
        state = _clip_image_encoder(state)
    to_mmpretrain_names(state)
    return {key: value for key, value in state.items() if not _UNUSED.match(key)}


def repeated_positions(pos_embed: Tensor, grid: Sequence[int]) -> Tensor:
    """A position embedding for a larger grid, in which each position is repeated as a block.

    Args:
        pos_embed: of one class token and n x n patches, (1, 1 + n * n, D).
        grid: (h, w), multiples of n.

    Returns:
        (1, 1 + h * w, D).

    Raises:
        ValueError: the grid is no multiple.
    """
    side = round((pos_embed.shape[1] - 1) ** 0.5)
    if any(length % side for length in grid):
        raise ValueError(
            f'positions of {side}x{side} patches cannot be repeated to {grid[0]}x{grid[1]}, which is no multiple: '
            'change img_size of the backbone, or resize them with init_cfg.repeat_positions=False'
        )
    patches = pos_embed[:, 1:].mT.unflatten(-1, (side, side))  # (1, D, n, n)
    for axis, length in zip((-2, -1), grid, strict=True):
        patches = patches.repeat_interleave(length // side, dim=axis)
    return torch.cat((pos_embed[:, :1], patches.flatten(2).mT), dim=1)


def load_vit_checkpoint(model: nn.Module, path: str, *, repeat_positions: bool) -> None:
    """Load a checkpoint into a :class:`TokenViT`; every difference is an error that names the keys and the reason.

    Args:
        model: the transformer.
        path: path or URL.
        repeat_positions: by :func:`repeated_positions`; False: they are resized.

    Raises:
        ValueError: keys are missing, unexpected or of another shape, or positions cannot be repeated.
    """
    path = unchecked(path)  # it is read by `read_checkpoint` in any case
    state = read_vit_state_dict(path)
    own = model.state_dict()
    if not model.final_norm:  # every file has one, for its own head
        state = {key: value for key, value in state.items() if not key.startswith('ln1.')}
    # The hook that runs before loading resizes these two; everything else has to fit as it is.
    flexible = ('pos_embed', 'cls_token')
    missing = sorted(own.keys() - state.keys())
    extra = sorted(state.keys() - own.keys())
    wrong = [
        f'{key}: file {tuple(state[key].shape)}, model {tuple(own[key].shape)}'
        for key in sorted(own.keys() & state.keys())
        if key not in flexible and state[key].shape != own[key].shape
    ]
    if 'pos_embed' in state and not _is_square(state['pos_embed'].shape[1] - 1):
        wrong.append(f'pos_embed: {state["pos_embed"].shape[1]} positions are not one class token and a square grid')
    if missing or extra or wrong:
        raise ValueError(_report(path, missing, extra, wrong))
    if repeat_positions:
        state['pos_embed'] = repeated_positions(state['pos_embed'], model.patch_resolution)
    with torch.no_grad():
        model.load_state_dict(state)
    print_log(f'{path}: loaded {len(own)} tensors into {type(model).__name__}', 'current')
    if 'pre_norm.weight' in own and any(isinstance(part, nn.GELU) for part in model.modules()):
        print_log(f'{path} has a norm before its blocks, as CLIP has. {_CLIP_ACTIVATION}', 'current', logging.WARNING)


def _is_square(count: int) -> bool:
    return round(count**0.5) ** 2 == count


def _report(path: str, missing: list[str], extra: list[str], wrong: list[str]) -> str:
    """The message for a file that does not fit: what, how many, and what usually fixes it."""
    problems = {'of another shape': wrong, 'missing in the file': missing, 'unknown to the model': extra}
    lines = [report_problems(f'{path} does not fit this TokenViT', problems)]
    if any('gamma' in key for key in extra):
        lines.append('  The file has LayerScale: set layer_scale_init_value=1e-5 in the backbone.')
    if any('pre_norm' in key for key in extra):
        lines.append('  The file has a norm before its blocks, as CLIP has: set pre_norm=True and')
        lines.append(f"  norm_cfg=dict(type='LN', eps=1e-5) in the backbone. {_CLIP_ACTIVATION}")
    if any('dist_token' in key for key in extra):
        lines.append('  The file is a distilled DeiT: use the plain one (its distillation token is not supported).')
    if any('patch_embed' in row for row in wrong):
        lines.append('  Another patch size or width: set arch and patch_size to those of the file.')
    return '\n'.join(lines)
