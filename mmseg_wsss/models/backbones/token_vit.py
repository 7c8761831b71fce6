"""A plain vision transformer that returns its tokens and, if asked, its attention."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.logging import print_log
from mmpretrain.models import VisionTransformer
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import checkpoint

from .vit_checkpoint import load_vit_checkpoint, to_mmpretrain_names


class SelfAttention(NamedTuple):
    """A block's self-attention and output; n = T + h * w tokens, the T class tokens first, and before them the
    registers, if there are any.

    The softmax map is not stored: it is ``softmax(query @ key^T / sqrt(d))``, and sums over it can be computed without
    its n x n values per head (see ``mmseg_wsss.models.cam.attention_fusion``).

    Attributes:
        query, key: (B, heads, n, d).
        output: what the attention adds to the tokens, before drop path, (B, n, D).
        tokens: what the block returns, before a final norm, (B, n, D).
        block: index of the block.
    """

    query: Tensor
    key: Tensor
    output: Tensor
    tokens: Tensor
    block: int = 0


class Tokens(NamedTuple):
    """The result of one pass through the encoder.

    Attributes:
        maps: patch tokens of the blocks in ``out_indices``, each (B, D, h, w); the last block's after the final norm.
        cls_token: class tokens after the final norm, (B, T, D) with T class tokens.
        recorded: what ``record`` returned for each block, see :meth:`TokenViT.tokens`; empty without it.
    """

    maps: tuple[Tensor, ...]
    cls_token: Tensor
    recorded: tuple[Any, ...] = ()


@MODELS.register_module()
class TokenViT(VisionTransformer):
    """mmpretrain's ``VisionTransformer`` as an mmseg backbone that can also return tokens and attention.

    ``forward`` returns feature maps, so every mmseg neck and decode head fits; :meth:`tokens` returns the class tokens
    too. Inputs may have any size: the position embedding is resized to the token grid, rows and columns that do not
    fill a patch are not seen (published ToCo does the same). Only a side shorter than a patch is filled up to one, by
    repeating its last pixels; its maps have one row or column, which a resize to the image spreads over that side.

    Args:
        arch: a name of mmpretrain's zoo (``'deit-tiny'``, ``'deit-small'``, ``'base'`` ...) or a dict with
            ``embed_dims``,
            ``num_layers``, ``num_heads`` and ``feedforward_channels``.
        img_size: the size that the position embedding belongs to.
        patch_size: side of a patch in pixels.
        out_indices: blocks whose patch tokens are returned, counted from 0, negative from the end.
        num_cls_tokens: number of class tokens T; a pretrained single one is copied T times.
        num_registers: further tokens in front of the class tokens, which take part in the attention and are not
            returned (published MoRe: 4). They begin as the pretrained class token at random positions, and are stored
            with the class tokens in ``cls_token``.
        freeze_pos_embed: keep the position embedding as loaded, as the published ToCo does.
        interpolate_mode: resizing of the position embedding, at loading and in the forward pass: ``'bicubic'``
            (published code of ToCo and of WeakTr's first stage) or ``'bilinear'`` (paper; published code of WeakTr's
            second stage).
        pos_embed_offset: sample the position embedding as if the token grid were larger by this much, as published
            WeakTr and DINO do with 0.1; without an effect at ``img_size``.
        pixels_per_pass: how many pixels pass through the blocks at once, but at least one image (448 * 448 is one image
            of that size, or 21 crops of 96). A larger batch is split into chunks, of which only the results are kept;
            backward recomputes each chunk. Memory is thus about that of one chunk for any batch size, at the price of
            one more forward pass. Tokens, losses and gradients are those of the whole batch. Evaluation with wrapped
            blocks (FSDP) does not split the batch, so that all processes call the blocks equally often. None: the
            whole batch at once.
        compile_blocks: let ``torch.compile`` fuse what a block does, once for all blocks and sizes; the first
            iterations then take minutes. Names in a checkpoint stay the same. Recording the attention, as
            WeakTr's first stage does, takes another path and gains nothing.
        init_cfg: ``dict(type='Pretrained', checkpoint=path_or_url)`` loads timm, DeiT, AugReg, DINOv2 or mmpretrain
            weights and refuses a file that does not fit with the list of keys. With ``repeat_positions=True`` a larger
            grid repeats each position of the file instead of resizing them (published MCTformer+).
        **kwargs: further arguments of mmpretrain's ``VisionTransformer``.
    """

    def __init__(
        self,
        *,
        arch: str | dict = 'base',
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        out_indices: tuple[int, ...] = (-1,),
        num_cls_tokens: int = 1,
        num_registers: int = 0,
        freeze_pos_embed: bool = False,
        interpolate_mode: str = 'bicubic',
        pos_embed_offset: float = 0.0,
        pixels_per_pass: int | None = None,
        compile_blocks: bool = False,
        init_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        if pixels_per_pass is not None and pixels_per_pass < 1:
            raise ValueError(f'pixels_per_pass must be positive or None, got {pixels_per_pass}')
        self.num_registers = num_registers
        self.num_extra_tokens = num_registers + num_cls_tokens
        super().__init__(
            arch=arch,
            img_size=img_size,
            patch_size=patch_size,
            out_indices=list(out_indices),
            out_type='featmap',
            interpolate_mode=interpolate_mode,
            patch_cfg=dict(padding=0),
            init_cfg=init_cfg,
            **kwargs,
        )
        self.cls_token = nn.Parameter(torch.zeros(1, self.num_extra_tokens, self.embed_dims))
        self.pos_embed.requires_grad_(not freeze_pos_embed)
        self.patch_size = patch_size
        self.pos_embed_offset = pos_embed_offset
        self.pixels_per_pass = pixels_per_pass
        self._block = _compiled_block(self) if compile_blocks else _block

    def _prepare_pos_embed(self, state_dict: dict, prefix: str, *args, **kwargs) -> None:
        """Before loading: take timm names, copy the class token, resize the position embedding (mmpretrain's hook)."""
        to_mmpretrain_names(state_dict, prefix)
        token = state_dict.get(f'{prefix}cls_token')
        if token is not None and token.shape[1] == 1 < self.num_extra_tokens:
            position, registers = state_dict[f'{prefix}pos_embed'], self.num_registers
            state_dict[f'{prefix}cls_token'] = token.repeat(1, self.num_extra_tokens, 1)
            first = position[:, :1].expand(-1, self.num_extra_tokens - registers, -1)
            drawn = nn.init.trunc_normal_(position.new_empty(1, registers, position.shape[-1]))  # of 1, cut at 2
            state_dict[f'{prefix}pos_embed'] = torch.cat((drawn, first, position[:, 1:]), dim=1)
        elif token is not None and token.shape[1] != self.num_extra_tokens:
            # mmpretrain's message would name img_size
            raise RuntimeError(
                f'{prefix}cls_token holds {token.shape[1]} class tokens, the model {self.num_extra_tokens}: '
                'the file was trained for another number of classes'
            )
        position = state_dict.get(f'{prefix}pos_embed')
        # With a prefix it is a whole network that was trained, not a pretrained file of `init_cfg`.
        if prefix and position is not None and position.shape[1] != self.pos_embed.shape[1]:
            side = round((position.shape[1] - self.num_extra_tokens) ** 0.5)
            rows, columns = self.patch_resolution
            print_log(
                f'{prefix}pos_embed is a grid of {side}x{side} in the checkpoint and of {rows}x{columns} in the model: '
                f'it is resized ({self.interpolate_mode}), so the network is not the one that was trained. '
                f'img_size={side * self.patch_size} in the backbone takes it as it is.',
                'current',
                logging.WARNING,
            )
        super()._prepare_pos_embed(state_dict, prefix, *args, **kwargs)

    def init_weights(self) -> None:
        """Random initialisation, or the pretrained file of ``init_cfg``, which must fit exactly."""
        if not (isinstance(self.init_cfg, dict) and self.init_cfg['type'] == 'Pretrained'):
            super().init_weights()
            nn.init.trunc_normal_(self.cls_token, std=0.02)
            return
        repeat = self.init_cfg.get('repeat_positions', False)
        load_vit_checkpoint(self, self.init_cfg['checkpoint'], repeat_positions=repeat)
        self._is_init = True

    def train(self, mode: bool = True) -> 'TokenViT':
        """As everywhere in PyTorch, and unlike mmpretrain's, it returns the module."""
        super().train(mode)
        return self

    def _embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Images (B, 3, H, W) to tokens (B, T + h * w, D) with their position, and the grid (h, w)."""
        down, right = (max(0, self.patch_size - side) for side in images.shape[-2:])
        if down or right:
            images = F.pad(images, (0, right, 0, down), mode='replicate')
        patches, grid = self.patch_embed(images)  # (B, h * w, D)
        x = torch.cat((self.cls_token.expand(len(images), -1, -1), patches), dim=1)
        return self.pre_norm(self.drop_after_pos(x + self._position(grid))), grid

    def _position(self, grid: tuple[int, int]) -> Tensor:
        """Position embedding (1, T + h * w, D) of a token grid (h, w)."""
        own, num, size = tuple(self.patch_resolution), self.num_extra_tokens, dict(size=grid)
        if not torch.compiler.is_exporting():  # an exported network takes any size, so it must not compare them
            if tuple(grid) == own:
                return self.pos_embed
            if self.pos_embed_offset:
                ratios = ((side + self.pos_embed_offset) / length for side, length in zip(grid, own, strict=True))
                size = dict(scale_factor=[*ratios])
        patches = self.pos_embed[:, num:].mT.unflatten(-1, own)  # (1, D, h, w) at `img_size`
        patches = F.interpolate(patches, **size, mode=self.interpolate_mode, align_corners=False)
        return torch.cat((self.pos_embed[:, :num], patches.flatten(2).mT), dim=1)

    def tokens(self, images: Tensor, *, record: Callable[[SelfAttention], Any] | None = None) -> Tokens:
        """Run the encoder once.

        Args:
            images: (B, 3, H, W), normalised.
            record: called with every block's :class:`SelfAttention`; only what it returns is kept, so a large tensor
                that it reduces does not outlive its block. With ``pixels_per_pass`` it sees one chunk at a time, may be
                called again in backward, and must return tensors whose first dimension is the batch, or tuples, lists
                or dicts of them.
        """
        count = self._images_per_pass(images)
        if len(images) <= count:
            return self._tokens(images, record)
        if torch.is_grad_enabled():
            chunks = [checkpoint(self._tokens, chunk, record, use_reentrant=False) for chunk in images.split(count)]
        else:
            chunks = [self._tokens(chunk, record) for chunk in images.split(count)]
        return tree_map(lambda *parts: torch.cat(parts), *chunks)

    def _images_per_pass(self, images: Tensor) -> int:
        """The whole batch, or as many as ``pixels_per_pass`` allows.

        Under FSDP a block gathers its weights from all processes at every call, so all must call it equally often.
        Training crops have the same size in all processes; images in evaluation do not, so they are not split.
        """
        wrapped = not all(isinstance(layer, TransformerEncoderLayer) for layer in self.layers)
        if self.pixels_per_pass is None or (wrapped and not self.training):
            return len(images)
        return max(1, self.pixels_per_pass // (images.shape[-2] * images.shape[-1]))

    def _tokens(self, images: Tensor, record: Callable[[SelfAttention], Any] | None) -> Tokens:
        """:meth:`tokens` of images that go through the blocks together."""
        x, grid = self._embed(images)
        maps, recorded = [], []
        for index, layer in enumerate(self.layers):
            if record is None:
                x = self._block(layer, x)
            else:
                x, attention = _recorded_block(layer, x)
                recorded.append(record(attention._replace(block=index)))
            if index == self.num_layers - 1 and self.final_norm:
                x = self.ln1(x)
            if index in self.out_indices:
                maps.append(self._format_output(x, grid))  # (B, D, h, w)
        return Tokens(tuple(maps), x[:, self.num_registers : self.num_extra_tokens], tuple(recorded))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of the blocks in ``out_indices``, each (B, D, h, w)."""
        return self.tokens(images).maps


def _block(layer: TransformerEncoderLayer, x: Tensor) -> Tensor:
    return layer(x)


def _compiled_block(vit: VisionTransformer) -> Callable[[TransformerEncoderLayer, Tensor], Tensor]:
    """:func:`_block` for all blocks of ``vit``: one function, so that it is compiled once."""
    for module in vit.modules():
        if isinstance(module, DropPath):
            module.drop_prob = float(module.drop_prob)  # a numpy float, which the compiler does not support
    return torch.compile(_block, dynamic=True)  # scales and crops have different sizes


def _recorded_block(layer: TransformerEncoderLayer, x: Tensor) -> tuple[Tensor, SelfAttention]:
    """One block, written out so that the parts of its attention can be returned.

    Raises:
        TypeError: the block is wrapped, so that its weights may be available in its own ``forward`` only.
    """
    if not isinstance(layer, TransformerEncoderLayer):
        raise TypeError(
            f'the attention of a block wrapped as {type(layer).__name__} cannot be recorded: do not wrap the blocks '
            '(DDP instead of FSDP; pixels_per_pass saves memory)'
        )
    attn = layer.attn
    batch, count, _ = x.shape
    qkv = attn.qkv(layer.ln1(x)).reshape(batch, count, 3, attn.num_heads, attn.head_dims)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, n, d)
    dropout = attn.attn_drop if attn.training else 0.0
    mixed = nn.functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
    output = attn.gamma1(attn.proj_drop(attn.proj(mixed.transpose(1, 2).reshape(batch, count, -1))))
    x = x + attn.out_drop(output)
    x = layer.ffn(layer.ln2(x), identity=x)
    return x, SelfAttention(query, key, output, x)
