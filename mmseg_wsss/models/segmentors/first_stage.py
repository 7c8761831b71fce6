"""What first stages share: a classifier without a decode head, whose CAMs become the labels of a second stage."""

from collections.abc import Sequence

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..cam import multi_scale_cam, scale_bicubic
from .base import CAMSegmentor
from .parts import completed, require_tokens, token_width


class FirstStage(CAMSegmentor, BaseSegmentor):
    """A vision transformer with one class token per class and a head that makes CAMs from tokens and attention.

    It is trained on image-level labels alone and has no decode head. The second stage is any mmseg segmentor trained on
    the pseudo-labels that ``tools/make_pseudo_labels.py`` makes from its CAMs. A method defines ``loss``.

    Args:
        backbone: a backbone with ``tokens`` and one class token per class (``TokenViT``, ``num_cls_tokens``).
        cam_head: head with ``record``, the argument of the backbone's ``tokens``, and ``cams`` of the tokens.
        num_classes: number of foreground classes C, where backbone and ``cam_head`` leave theirs out.
        cam_scales: scales at test time, each with its flip, summed.
        test_cfg: ``cam=True`` to return the CAM beside the segmentation.
        pretrained: None, as mmseg's ``init_model`` passes it to every segmentor.
        **kwargs: ``background_threshold``, mmseg's ``data_preprocessor`` ...

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
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        pretrained: None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if pretrained is not None:
            raise ValueError("pretrained is not used: give backbone.init_cfg=dict(type='Pretrained', checkpoint=...)")
        require_tokens(type(self).__name__, backbone)
        tokens = cam_head.get('num_classes') if num_classes is None else num_classes
        vit = MODELS.build(completed(backbone, 'backbone', num_cls_tokens=tokens))
        fit = dict(num_classes=vit.num_extra_tokens, in_channels=token_width(vit))
        self.backbone = vit
        self.cam_head = MODELS.build(completed(self.fitted(cam_head, vit), 'cam_head', **fit))
        self.num_classes = self.cam_head.num_classes + 1
        self.cam_scales = tuple(cam_scales)
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg or {}
        self.align_corners = False  # for mmseg's post-processing

    def fitted(self, cam_head: dict, backbone: nn.Module) -> dict:
        """The head's config with what else follows from the backbone; by default nothing."""
        return cam_head

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of the backbone, each (B, D, h, w)."""
        return self.backbone(inputs)

    def _forward(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> Tensor:
        """CAM (B, C, h, w), on the token grid and not normalised."""
        return self.cam_head.cams(self.backbone.tokens(inputs, record=self.cam_head.record))

    @torch.no_grad()
    def cams(self, images: Tensor, *, maps: Sequence[Tensor] | None = None) -> dict[str, Tensor]:
        """Multi-scale CAM; see the contract. Attention is not in ``maps``, so nothing is reused."""
        return multi_scale_cam(
            lambda x: dict(cam=self._forward(x)),
            images,
            scales=self.cam_scales,
            scale_images=scale_bicubic,
            merge_flip=torch.add,
            eps=1e-8,
        )

    def encode_decode(self, inputs: Tensor, batch_img_metas: Sequence[dict]) -> Tensor:
        """Scores (B, C + 1, H, W): the background threshold, then the CAMs of all classes."""
        return self.with_background(self.cams(inputs)['cam'])

    def predict(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> list[SegDataSample]:
        """Pseudo-labels from CAMs.

        Returns:
            samples with ``pred_sem_seg`` and, with ``test_cfg.cam``, ``cam``: PixelData whose ``data`` is (C, H, W) in
            [0, 1) at the original size; both of the present classes where a sample has image-level labels.
        """
        cams = self.original_cams(self.cams(inputs), data_samples)
        samples = data_samples or [SegDataSample() for _ in inputs]
        for sample, cam in zip(samples, cams['cam'], strict=True):
            label = self.with_background(cam).argmax(dim=0, keepdim=True)  # at a tie the background is first
            sample.set_data({'pred_sem_seg': PixelData(data=label)})
        if self.test_cfg.get('cam', False):
            self.add_cams(samples, cams)
        return list(samples)
