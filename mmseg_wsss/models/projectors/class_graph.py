"""A graph from patch tokens to class tokens: what a class token takes over from the tokens it resembles."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

_SHARE = 0.1  # of what comes over the edges


@MODELS.register_module()
class ClassGraph(BaseModule):
    """Class tokens with what they receive from their C // 2 best neighbours, class and patch tokens.

    MoRe, https://arxiv.org/abs/2412.11076: a class token points to the tokens with the greatest scaled product. What it
    receives over an edge counts by a gate between both ends.

    Args:
        num_classes: number of class tokens C; there are C // 2 neighbours, but at least one.
        in_channels: token width D.
    """

    def __init__(self, *, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.num_neighbours = max(1, num_classes // 2)
        self.head_proj = nn.Linear(in_channels, in_channels)
        self.tail_proj = nn.Linear(in_channels, in_channels)
        self.linear1 = nn.Linear(in_channels, in_channels)
        self.linear2 = nn.Linear(in_channels, in_channels)
        self.norm = nn.LayerNorm(in_channels)

    def forward(self, tokens: Tensor, features: Tensor) -> Tensor:
        """Class tokens (B, C, D) and patch tokens (B, D, h, w), without gradient into these, to class tokens."""
        head = self.head_proj(tokens)  # (B, C, D)
        tails = self.tail_proj(torch.cat((tokens, features.detach().flatten(2).mT), dim=1))  # (B, C + N, D)
        scores, index = (head * head.shape[-1] ** -0.5 @ tails.mT).topk(self.num_neighbours)  # (B, C, n)
        batch = torch.arange(len(tokens), device=tokens.device)[:, None, None]
        neighbours = tails[batch, index]  # (B, C, n, D)
        share = scores.softmax(dim=-1)[..., None]
        edge = torch.lerp(head[:, :, None], neighbours, share.to(head))
        gate = torch.tanh(head[:, :, None] + edge)
        # as published: the product of two sums over the channels, not the sum of the products
        weight = (neighbours.sum(dim=-1) * gate.sum(dim=-1)).softmax(dim=-1)  # (B, C, n)
        received = (weight[..., None] * neighbours).sum(dim=2)  # (B, C, D)
        added = F.leaky_relu(self.linear1(_SHARE * (head + received) + tokens))
        multiplied = F.leaky_relu(self.linear2(_SHARE * head * received + tokens))
        return self.norm(added + multiplied)
