"""WeakTr, first stage: CAMs refined by the attention of a plain ViT (https://arxiv.org/abs/2304.01184)."""

from collections.abc import Sequence

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ...structures import image_scores
from ..cam import multi_scale_cam, scale_bicubic
from .base import CAMSegmentor
from .parts import completed, require_tokens, token_width


@MODELS.register_module()
class WeakTr(CAMSegmentor, BaseSegmentor):
    """A classifier whose class activation maps are refined by its fused attention (WeakTr Figure 3).

    It is trained on image-level labels alone and has no decode head. The second stage is any mmseg segmentor trained on
    the pseudo-labels that ``tools/make_pseudo_labels.py`` makes from its CAMs.

    Args:
        backbone: a backbone with ``tokens`` and one class token per class (``TokenViT``, ``num_cls_tokens``).
        cam_head: ``AAFCAMHead``.
        num_classes: number of foreground classes C, where backbone and ``cam_head`` leave theirs out.
        cam_scales: scales at test time, each with its flip, summed (published: 1 and 1.2 on VOC, 1, 0.8, 1.2 on COCO).
        test_cfg: ``cam=True`` to return the CAM beside the segmentation.
        pretrained: None, as mmseg's ``init_model`` passes it to every segmentor.
        **kwargs: ``background_threshold`` (published: 0.43 on VOC, 0.42 on COCO), mmseg's ``data_preprocessor`` ...

    Raises:
        TypeError: the backbone has no ``tokens``.
        ValueError: the numbers of classes, class tokens, blocks, heads or channels disagree.
    """

    def __init__(
        self,
        *,
        backbone: dict,
        cam_head: dict,
        num_classes: int | None = None,
        cam_scales: Sequence[float] = (1.0, 1.2),
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        pretrained: None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if pretrained is not None:
            raise ValueError("pretrained is not used: give backbone.init_cfg=dict(type='Pretrained', checkpoint=...)")
        require_tokens('WeakTr', backbone)
        tokens = cam_head.get('num_classes') if num_classes is None else num_classes
        vit = MODELS.build(completed(backbone, 'backbone', num_cls_tokens=tokens))
        weights = cam_head.get('head_weights') or dict(type='OutputPooledWeights')
        heads = vit.layers[0].attn.num_heads
        shape = dict(num_blocks=vit.num_layers, num_heads=heads, head_dims=vit.embed_dims // heads)
        weights = completed(weights, 'cam_head.head_weights', **shape)
        fit = dict(num_classes=vit.num_extra_tokens, in_channels=token_width(vit))
        self.backbone = vit
        self.cam_head = MODELS.build(completed({**cam_head, 'head_weights': weights}, 'cam_head', **fit))
        self.num_classes = self.cam_head.num_classes + 1
        self.cam_scales = tuple(cam_scales)
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg or {}
        self.align_corners = False  # for mmseg's post-processing

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """Losses of class tokens, coarse and fine CAM.

        Args:
            inputs: (B, 3, H, W), normalised.
            data_samples: with image-level labels.
        """
        tokens = self.backbone.tokens(inputs, record=self.cam_head.record)
        return self.cam_head.loss(tokens, image_scores(data_samples))

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of the backbone, each (B, D, h, w)."""
        return self.backbone(inputs)

    def _forward(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> Tensor:
        """Fine CAM (B, C, h, w), on the token grid and not normalised."""
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
