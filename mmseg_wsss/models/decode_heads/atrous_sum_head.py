"""DeepLab v2's decoder."""

from collections.abc import Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class AtrousSumHead(BaseDecodeHead):
    """Sum of parallel 3x3 convolutions to the classes, each with its dilation (ASPP of DeepLab v2).

    https://arxiv.org/abs/1606.00915, section 3.2; here on the tokens of a ViT, as in published SeCo. mmseg's
    ``ASPPHead`` is that of DeepLab v3. Weights start from a normal distribution of deviation 0.01, biases from 0.

    Args:
        dilations: one convolution for each.
        init_cfg: initial weights.
        **kwargs: of mmseg's ``BaseDecodeHead``, without ``channels``, ``dropout_ratio`` and norms: it has none.
    """

    def __init__(self, *, dilations: Sequence[int] = (6, 12, 18, 24), init_cfg: dict | None = None, **kwargs) -> None:
        init_cfg = init_cfg or dict(type='Normal', layer='Conv2d', std=0.01)
        super().__init__(channels=1, dropout_ratio=0.0, init_cfg=init_cfg, **kwargs)
        del self.conv_seg  # the classes come out of the convolutions
        self.convs = nn.ModuleList(
            nn.Conv2d(self.in_channels, self.out_channels, 3, padding=dilation, dilation=dilation)
            for dilation in dilations
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits (B, K, h, w) from the backbone's feature maps."""
        tokens = self._transform_inputs(inputs)
        return sum(conv(tokens) for conv in self.convs)
