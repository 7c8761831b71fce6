"""Projection head of class token contrast and its slowly following EMA teacher."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..steady_average import SteadyAverage


class ProjectionHead(BaseModule):
    """Three linear layers, L2 normalisation, then, unless it is left out, a linear layer whose rows have length 1.

    ToCo, https://arxiv.org/abs/2303.01267, section 4.3. The last layer has weight normalisation with its gain fixed at
    1, so outputs are cosines in [-1, 1].

    Args:
        in_channels: token width D.
        hidden_channels: width of the two hidden layers.
        bottleneck_channels: width before normalisation.
        out_channels: number of outputs P; None leaves the last layer out, so that outputs are unit vectors (SeCo).
    """

    def __init__(
        self,
        *,
        in_channels: int,
        hidden_channels: int = 2048,
        bottleneck_channels: int = 256,
        out_channels: int | None = 1024,
    ) -> None:
        super().__init__(init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02))
        self.mlp = nn.Sequential(
            nn.Linear(in_channels, hidden_channels),
            nn.GELU(),
            nn.Linear(hidden_channels, hidden_channels),
            nn.GELU(),
            nn.Linear(hidden_channels, bottleneck_channels),
        )
        self.last_layer = nn.Linear(bottleneck_channels, out_channels, bias=False) if out_channels else None

    def forward(self, tokens: Tensor) -> Tensor:
        """Class tokens (..., D) to projections (..., P)."""
        direction = F.normalize(self.mlp(tokens), dim=-1, eps=1e-6)
        if self.last_layer is None:
            return direction
        return F.linear(direction, F.normalize(self.last_layer.weight, dim=1))


@MODELS.register_module()
class EMAProjector(BaseModule):
    """The trained projection head P^l and its EMA teacher P^g (ToCo, https://arxiv.org/abs/2303.01267, section 4.3).

    The teacher is part of the model, so that a resumed run continues with it.

    Args:
        in_channels: token width D.
        momentum: rho of ``g <- rho * g + (1 - rho) * l``; published 0.9, 0 makes the teacher a copy.
        hidden_channels, bottleneck_channels, out_channels: widths, see :class:`ProjectionHead`.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        momentum: float = 0.9,
        hidden_channels: int = 2048,
        bottleneck_channels: int = 256,
        out_channels: int | None = 1024,
    ) -> None:
        super().__init__()
        self.student = ProjectionHead(
            in_channels=in_channels,
            hidden_channels=hidden_channels,
            bottleneck_channels=bottleneck_channels,
            out_channels=out_channels,
        )
        self.teacher = SteadyAverage(self.student, momentum=momentum)

    def update(self) -> None:
        """Move the teacher once towards the trained head; call it once per training step."""
        self.teacher.update_parameters(self.student)

    def forward(self, tokens: Tensor) -> Tensor:
        """Project with the trained head: (..., D) to (..., P)."""
        return self.student(tokens)

    @torch.no_grad()
    def project_global(self, tokens: Tensor) -> Tensor:
        """Project with the teacher, without gradient: (..., D) to (..., P)."""
        return self.teacher(tokens)
