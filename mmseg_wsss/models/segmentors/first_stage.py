"""What first stages share: a classifier without a decode head, whose CAMs become the labels of a second stage."""

from collections.abc import Sequence

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from .cam_only import CAMOnly
from .parts import completed, require_tokens, token_width


class FirstStage(CAMOnly):
    """A vision transformer with one class token per class and a head that makes CAMs from tokens and attention.

    It is trained on image-level labels alone and has no decode head. The second stage is any mmseg segmentor trained on
    the pseudo-labels that ``tools/make_pseudo_labels.py`` makes from its CAMs. A method defines ``loss``.

    Args:
        backbone: a backbone with ``tokens`` and one class token per class (``TokenViT``, ``num_cls_tokens``).
        cam_head: head with ``record``, the argument of the backbone's ``tokens``, and ``cams`` of the tokens.
        num_classes: number of foreground classes C, where backbone and ``cam_head`` leave theirs out.
        cam_scales: scales at test time, each with its flip, summed.
        **kwargs: of ``CAMOnly``.

    Raises:
        TypeError: the backbone has no ``tokens``.
        ValueError: the numbers of classes, class tokens or channels disagree.
    """

    def __init__(
        self,
        *,
        backbone: dict,
        cam_head: dict,
        num_classes: int | None = None,
        cam_scales: Sequence[float],
        **kwargs,
    ) -> None:
        super().__init__(cam_scales=cam_scales, **kwargs)
        require_tokens(type(self).__name__, backbone)
        tokens = cam_head.get('num_classes') if num_classes is None else num_classes
        vit = MODELS.build(completed(backbone, 'backbone', num_cls_tokens=tokens))
        fit = dict(num_classes=vit.num_extra_tokens, in_channels=token_width(vit))
        self.backbone = vit
        self.cam_head = MODELS.build(completed(self.fitted(cam_head, vit), 'cam_head', **fit))

    def fitted(self, cam_head: dict, backbone: nn.Module) -> dict:
        """The head's config with what else follows from the backbone; by default nothing."""
        return cam_head

    def raw_cams(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """CAMs (B, C, h, w) of all classes, on the token grid and not normalised."""
        return self.cam_head.cams(self.backbone.tokens(images, record=self.cam_head.record))

    @torch.no_grad()
    def tag_scores(self, images: Tensor) -> Tensor:
        """Probabilities by the class tokens, each the mean of its channels; see the contract."""
        return self.backbone.tokens(images).cls_token.float().mean(dim=-1).sigmoid()
