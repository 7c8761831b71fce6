"""Pre-trains the demo's tiny ViT to name single drawn objects, and saves it as ``demo/tiny_vit.pth``.

This stands for the ImageNet weights that weakly-supervised segmentation starts from: a classifier of pictures with one
object in the middle, of more kinds than the data set it is used on later. The 39 kinds combine every head with three
families of bodies; the combinations that make the demo's six classes are left out, and so is every demo scene.

The file is a plain state dict of float16 tensors with timm's names (``blocks.0.attn.qkv.weight``); the mean and
standard deviation of its input are half the range, as in AugReg.

Usage: ``python -m demo.pretrain --out demo/tiny_vit.pth`` (about 8 minutes on one core that computes in bfloat16)
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


def drawing(rng: np.random.Generator, kind: Kind, size: int = 72) -> np.ndarray:
    """One object in the middle of a picture (size, size, 3) uint8 RGB with any background."""
    canvas = background(size, size, rng)
    draw(kind, canvas, tuple(size / 2 + rng.uniform(-7, 7, 2)), rng.uniform(16, 32), rng)
    return finish(canvas, rng)


def pool(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures (count, 3, 72, 72) uint8 and labels (count,) of evenly spread kinds."""
    wanted = kinds()
    pictures = [drawing(np.random.default_rng((seed, i)), wanted[i % len(wanted)]) for i in range(count)]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2), torch.arange(count) % len(wanted)


def augment(pictures: Tensor, size: int) -> Tensor:
    """One random crop for the batch, random flips and brightness, scaled to about [-1, 1]."""
    top, left = torch.randint(0, pictures.shape[-1] - size + 1, (2,)).tolist()
    crop = pictures[..., top : top + size, left : left + size].float() / 127.5 - 1
    flip = torch.rand(len(crop), 1, 1, 1) < 0.5
    gain = 1 + 0.3 * (torch.rand(len(crop), 3, 1, 1) - 0.5)
    return torch.where(flip, crop.flip(-1), crop) * gain


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


class Classifier(nn.Module):
    """The backbone with linear classifiers on its class token and on the max-pooled patch tokens of two blocks.

    Max pooling keeps the evidence for a kind where the object is. With the class token alone, every token of so small a
    network knows the kind after three blocks, background too, and then no CAM can tell where it is.
    """

    def __init__(self, num_kinds: int) -> None:
        super().__init__()
        self.backbone = TokenViT(drop_path_rate=0.05, out_indices=(5, 7), **BACKBONE)
        self.backbone.init_weights()
        self.heads = nn.ModuleList(nn.Linear(BACKBONE['arch']['embed_dims'], num_kinds) for _ in range(3))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Logits (B, num_kinds) of the class token, of block 6 and of block 8."""
        tokens = self.backbone.tokens(images)
        features = [tokens.cls_token[:, 0], *(maps.amax(dim=(2, 3)) for maps in tokens.maps)]
        return [head(feature) for head, feature in zip(self.heads, features, strict=True)]


def train(out: str, *, count: int, epochs: int, batch: int = 64, lr: float = 1e-3) -> None:
    """Train the classifier and save the backbone; prints loss and accuracy on unseen drawings after every epoch."""
    torch.manual_seed(0)
    pictures, labels = pool(count, seed=1)
    unseen, truth = pool(390, seed=2)
    network = Classifier(int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.05)
    steps = epochs * (count // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    start = time.time()
    for epoch in range(epochs):
        network.train()
        losses = []
        for chosen in torch.randperm(count)[: count // batch * batch].view(-1, batch):
            with sdpa_kernel(SDPBackend.MATH), torch.autocast('cpu', torch.bfloat16):
                logits = network(augment(pictures[chosen], BACKBONE['img_size']))
            loss = sum(F.cross_entropy(one.float(), labels[chosen], label_smoothing=0.1) for one in logits) / 3
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        network.eval()
        with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
            correct = (network(augment(unseen, BACKBONE['img_size']))[2].argmax(1) == truth).float().mean()
        print(f'epoch {epoch + 1}/{epochs}  loss {np.mean(losses):.3f}  unseen accuracy {100 * correct:.1f} %  '
              f'{time.time() - start:.0f} s', flush=True)  # fmt: skip
        save(network.backbone.state_dict(), out)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', default='demo/tiny_vit.pth')
    parser.add_argument('--count', type=int, default=12000, help='number of drawings')
    parser.add_argument('--epochs', type=int, default=12)
    args = parser.parse_args()
    train(args.out, count=args.count, epochs=args.epochs)
