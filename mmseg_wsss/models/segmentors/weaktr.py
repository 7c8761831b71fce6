"""WeakTr, first stage: CAMs refined by the attention of a plain ViT (https://arxiv.org/abs/2304.01184)."""

from collections.abc import Sequence

from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ...structures import image_scores
from .first_stage import FirstStage
from .parts import completed


@MODELS.register_module()
class WeakTr(FirstStage):
    """A classifier whose class activation maps are refined by its fused attention (WeakTr Figure 3).

    Args:
        cam_head: ``AAFCAMHead``.
        cam_scales: scales at test time, each with its flip, summed (published: 1 and 1.2 on VOC, 1, 0.8, 1.2 on COCO).
        **kwargs: of ``FirstStage``; published ``background_threshold``: 0.43 on VOC, 0.42 on COCO.

    Raises:
        ValueError: the numbers of blocks or heads disagree, and as in ``FirstStage``.
    """

    def __init__(self, *, cam_scales: Sequence[float] = (1.0, 1.2), **kwargs) -> None:
        super().__init__(cam_scales=cam_scales, **kwargs)

    def fitted(self, cam_head: dict, backbone: nn.Module) -> dict:
        """The head's config with the numbers of blocks and heads that it weighs."""
        heads = backbone.layers[0].attn.num_heads
        shape = dict(num_blocks=backbone.num_layers, num_heads=heads, head_dims=backbone.embed_dims // heads)
        weights = cam_head.get('head_weights') or dict(type='OutputPooledWeights')
        return {**cam_head, 'head_weights': completed(weights, 'cam_head.head_weights', **shape)}

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """Losses of class tokens, coarse and fine CAM.

        Args:
            inputs: (B, 3, H, W), normalised.
            data_samples: with image-level labels.
        """
        tokens = self.backbone.tokens(inputs, record=self.cam_head.record)
        return self.cam_head.loss(tokens, image_scores(data_samples))
