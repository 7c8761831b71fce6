"""Pre-trains the demo's tiny ViT on drawn objects, and saves it as ``demo/tiny_vit.pth``.

This stands for the ImageNet weights that weakly-supervised segmentation starts from: features of more kinds of objects
than the data set has that it is used on later. The 39 kinds combine every head with three families of bodies; the
combinations that make the demo's six classes are left out, and so is every demo scene.

First the network names single objects in the middle of a picture. Then it names the patches of pictures with up to
three objects: which kind covers a patch, or that background does. So it has seen masks, but none of a demo class.

The file is a plain state dict of float16 tensors with timm's names (``blocks.0.attn.qkv.weight``); the mean and
standard deviation of its input are half the range, as in AugReg.

Usage: ``python -m demo.pretrain --out demo/tiny_vit.pth``; with ``--init FILE`` the second part alone
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from demo.objects import ALL_TEXTURES, HEADS, Kind, draw
from demo.scenes import KINDS as DEMO_KINDS
from demo.scenes import background, finish
from mmseg_wsss.models.backbones import TokenViT

BACKBONE = dict(
    arch=dict(embed_dims=96, num_layers=8, num_heads=3, feedforward_channels=384),
    img_size=64,
    patch_size=8,
)
FAMILIES = (
    (('ellipse', 'egg', 'bean'), ('four legs', 'two legs', 'tail')),
    (('box', 'crate', 'trapezoid'), ('wheels', 'none', 'two legs')),
    (('dome', 'hexagon', 'wedge'), ('fins', 'rollers', 'four legs')),
)


def kinds(seed: int = 7) -> list[Kind]:
    """Every head on every family of bodies, with textures and hues drawn at random, without the demo's classes."""
    rng = np.random.default_rng(seed)
    used = {(kind.head, kind.bodies) for kind in DEMO_KINDS}
    found = []
    for head in HEADS:
        for bodies, limbs in FAMILIES:
            textures = tuple(rng.choice(ALL_TEXTURES, 2, replace=False))
            at = (0.85, -0.55) if bodies[0] == 'ellipse' else (rng.choice([0.0, 0.6, -0.6]), -0.75)
            kind = Kind(f'{head} on {bodies[0]}', head, at, bodies, limbs, textures, rng.random(), loyalty=0.85)
            if (head, bodies) not in used:
                found.append(kind)
    return found


def single(rng: np.random.Generator, wanted: list[Kind], kind: int, size: int = 72) -> tuple[np.ndarray, np.ndarray]:
    """One object in the middle of a picture with any background.

    Returns:
        The picture (size, size, 3) uint8 RGB and its mask (size, size) uint8: 0 = background, k + 1 = ``wanted[k]``.
    """
    canvas, mask = background(size, size, rng), np.zeros((size, size), np.uint8)
    silhouette = draw(wanted[kind], canvas, tuple(size / 2 + rng.uniform(-7, 7, 2)), rng.uniform(16, 32), rng)
    mask[silhouette] = kind + 1
    return finish(canvas, rng), mask


def several(rng: np.random.Generator, wanted: list[Kind], size: int = 72) -> tuple[np.ndarray, np.ndarray]:
    """As ``single``, with none to three objects of any kinds anywhere, some cut off by the border."""
    canvas, mask = background(size, size, rng), np.zeros((size, size), np.uint8)
    for kind in rng.choice(len(wanted), rng.choice(4, p=[0.05, 0.45, 0.4, 0.1])):
        half = rng.uniform(14, 32)
        mask[draw(wanted[kind], canvas, tuple(rng.uniform(8, size - 8, 2)), half, rng)] = kind + 1
    return finish(canvas, rng), mask


def pool(count: int, seed: int, *, patches: bool) -> tuple[Tensor, Tensor]:
    """Pictures (count, 3, 72, 72) and masks (count, 72, 72), uint8, of several objects or of one."""
    wanted, rngs = kinds(), [np.random.default_rng((seed, i)) for i in range(count)]
    if patches:
        drawn = [several(rng, wanted) for rng in rngs]
    else:
        drawn = [single(rng, wanted, i % len(wanted)) for i, rng in enumerate(rngs)]
    pictures, masks = (torch.from_numpy(np.stack(one)) for one in zip(*drawn, strict=True))
    return pictures.permute(0, 3, 1, 2), masks


def augment(pictures: Tensor, masks: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """One random crop for the batch, random flips and brightness, scaled to about [-1, 1]; also of the masks."""
    top, left = torch.randint(0, pictures.shape[-1] - size + 1, (2,)).tolist()
    crop, mask = (one[..., top : top + size, left : left + size] for one in (pictures, masks))
    crop = crop.float() / 127.5 - 1
    flip = torch.rand(len(crop), 1, 1) < 0.5
    gain = 1 + 0.3 * (torch.rand(len(crop), 3, 1, 1) - 0.5)
    return torch.where(flip[:, None], crop.flip(-1), crop) * gain, torch.where(flip, mask.flip(-1), mask).long()


def patch_shares(masks: Tensor, answers: int, patch: int = BACKBONE['patch_size']) -> Tensor:
    """Which share of each patch every answer covers: (B, H, W) ids -> (B, answers, h, w)."""
    return F.avg_pool2d(F.one_hot(masks, answers).permute(0, 3, 1, 2).float(), patch)


def timm_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """mmpretrain's ViT state dict under timm's names, as float16."""
    renames = (
        ('layers.', 'blocks.'), ('.ln1.', '.norm1.'), ('.ln2.', '.norm2.'), ('embed.projection.', 'embed.proj.'),
        ('.ffn.blocks.0.0.', '.mlp.fc1.'), ('.ffn.blocks.1.', '.mlp.fc2.'),
    )  # fmt: skip
    named = {}
    for key, value in state.items():
        for old, new in renames:
            key = key.replace(old, new)
        named['norm.' + key[4:] if key.startswith('ln1.') else key] = value.half()
    return named


def save(state: dict[str, Tensor], path: str) -> None:
    """Write under a temporary name, then rename."""
    torch.save(timm_names(state), path + '.part')
    os.replace(path + '.part', path)


class Network(nn.Module):
    """The backbone with linear classifiers on its class token and on the patch tokens of blocks 6 and 8.

    With the class token alone, every token of so small a network knows the kind after three blocks, background too, and
    then no CAM can tell where it is.

    Args:
        init: weights to begin with; None for random ones.
        num_kinds: answers of the class token.
        patches: answer for each patch, which may also be background; else for the max-pooled tokens of the picture.
    """

    def __init__(self, init: str | None, *, num_kinds: int, patches: bool) -> None:
        super().__init__()
        self.patches = patches
        pretrained = init and dict(type='Pretrained', checkpoint=init)
        self.backbone = TokenViT(drop_path_rate=0.05, out_indices=(5, 7), init_cfg=pretrained, **BACKBONE)
        self.backbone.init_weights()
        channels = BACKBONE['arch']['embed_dims']
        self.name = nn.Linear(channels, num_kinds)
        self.locate = nn.ModuleList(nn.Conv2d(channels, num_kinds + patches, 1) for _ in range(2))

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits (B, num_kinds) of the class token, (B, answers, h, w) of both blocks; h = w = 1 without patches."""
        tokens = self.backbone.tokens(images)
        maps = tokens.maps if self.patches else [one.amax(dim=(2, 3), keepdim=True) for one in tokens.maps]
        return self.name(tokens.cls_token[:, 0]), [head(one) for head, one in zip(self.locate, maps, strict=True)]

    def loss(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and which objects (or patches of objects) block 8 names rightly."""
        name, maps = self(images)
        name, maps = name.float(), [one.float() for one in maps]
        if self.patches:
            shares = patch_shares(masks, maps[0].shape[1])
            shown = (shares[:, 1:].amax(dim=(2, 3)) > 0.3).float()
            loss = 5 * F.binary_cross_entropy_with_logits(name, shown)
            right = (maps[1].argmax(1) == shares.argmax(1))[shares[:, 0] < 0.5]
            return loss + sum(F.cross_entropy(one, shares) for one in maps), right
        kind = masks.amax(dim=(1, 2)) - 1
        logits = [name, *(one[..., 0, 0] for one in maps)]
        return sum(F.cross_entropy(one, kind, label_smoothing=0.1) for one in logits) / 3, logits[2].argmax(1) == kind


def train(out: str, init: str | None, *, patches: bool, count: int, epochs: int, lr: float, batch: int = 64) -> None:
    """Train one part and save the backbone; prints loss and accuracy on unseen drawings after every epoch."""
    torch.manual_seed(0)
    pictures, masks = pool(count, 1, patches=patches)
    unseen = pool(400, 2, patches=patches)
    network = Network(init, num_kinds=len(kinds()), patches=patches)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.05)
    steps = epochs * (count // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    start = time.time()
    for epoch in range(epochs):
        network.train()
        losses = []
        for chosen in torch.randperm(count)[: count // batch * batch].view(-1, batch):
            with sdpa_kernel(SDPBackend.MATH), torch.autocast('cpu', torch.bfloat16):
                loss, _ = network.loss(*augment(pictures[chosen], masks[chosen], BACKBONE['img_size']))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        network.eval()
        with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
            _, right = network.loss(*augment(*unseen, BACKBONE['img_size']))
        print(f'epoch {epoch + 1}/{epochs}  loss {np.mean(losses):.3f}  unseen accuracy '
              f'{100 * right.float().mean():.1f} %  {time.time() - start:.0f} s', flush=True)  # fmt: skip
        save(network.backbone.state_dict(), out)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', default='demo/tiny_vit.pth')
    parser.add_argument('--init', help='weights of the first part, which is then left out')
    args = parser.parse_args()
    if args.init is None:
        train(args.out, None, patches=False, count=12000, epochs=12, lr=1e-3)
    train(args.out, args.init or args.out, patches=True, count=6400, epochs=4, lr=6e-4)
