"""Segmenter's decoder with the initial weights of its authors."""

from mmseg.models import SegmenterMaskTransformerHead
from mmseg.registry import MODELS
from torch import nn


@MODELS.register_module()
class MaskTransformerHead(SegmenterMaskTransformerHead):
    """mmseg's ``SegmenterMaskTransformerHead`` with the initial weights of the published decoders.

    The network, its arguments and the names in a checkpoint are mmseg's. The differences are initial weights, which
    matter for SGD (published code of Segmenter, https://arxiv.org/abs/2105.05633, and of WeakTr's second stage,
    https://arxiv.org/abs/2304.01184):

    - query, key and value: a truncated normal distribution of deviation 0.02 like every other linear layer; mmseg
      leaves PyTorch's Xavier weights, whose deviation is 0.036 at 384 channels;
    - the matrices before the scalar product of patches and classes: a normal distribution of deviation D^-0.5, which
      is 0.051 at 384 channels; mmseg has 0.02. The product is of unit vectors, so the output does not depend on that
      deviation, but the step of a given learning rate does.

    Args:
        in_channels: token width of the backbone.
        channels, embed_dims, num_heads: of the decoder; by default as wide as the backbone, with heads of 64 channels.
        **kwargs: of mmseg's class.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        channels: int | None = None,
        embed_dims: int | None = None,
        num_heads: int | None = None,
        **kwargs,
    ) -> None:
        width = embed_dims or in_channels
        super().__init__(
            in_channels=in_channels,
            channels=channels or width,
            embed_dims=width,
            num_heads=num_heads or max(1, width // 64),
            **kwargs,
        )

    def init_weights(self) -> None:
        """See the class."""
        super().init_weights()
        for layer in self.layers:
            nn.init.trunc_normal_(layer.attn.attn.in_proj_weight, std=self.init_std)
        for projection in (self.patch_proj, self.classes_proj):
            nn.init.normal_(projection.weight, std=projection.in_features**-0.5)
