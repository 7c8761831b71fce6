"""WeakTr, first stage: CAMs from a plain ViT's own attention (Zhu et al., arXiv 2304.01184)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ...structures import image_scores
from ..cam import CAMFunction, multi_scale_cam, scale_bicubic
from .cam_prediction import cams_of_samples


@MODELS.register_module()
class WeakTr(BaseSegmentor):
    """A classifier whose class activation maps are refined by its fused attention (WeakTr Figure 3).

    Trained on image-level labels alone; it has no decode head. The second stage is any mmseg segmentor trained on the
    pseudo-labels that ``tools/make_pseudo_labels.py`` makes of its CAMs.

    Args:
        backbone: a backbone with ``tokens`` and one class token per class (``TokenViT``, ``num_cls_tokens``).
        cam_head: ``AAFCAMHead``.
        cam_scales: scales at test time, each with its flip, summed (published: 1 and 1.2 on VOC, 1, 0.8, 1.2 on COCO).
        threshold: background score: a pixel whose CAMs all stay at or below it is background.
        test_cfg: ``cam=True`` to return ``cam`` beside the segmentation.
        data_preprocessor, init_cfg: mmseg's.

    Raises:
        ValueError: the numbers of classes, class tokens, blocks or heads disagree, or the threshold is not in [0, 1).
    """

    def __init__(
        self,
        *,
        backbone: dict,
        cam_head: dict,
        cam_scales: Sequence[float] = (1.0, 1.2),
        threshold: float = 0.43,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if not 0 <= threshold < 1:
            raise ValueError(f'threshold must be in [0, 1), got {threshold}')
        self.backbone = MODELS.build(backbone)
        self.cam_head = MODELS.build(cam_head)
        self.num_classes = self.cam_head.num_classes + 1
        self._check_parts()
        self.cam_scales = tuple(cam_scales)
        self.threshold = threshold
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg or {}
        self.align_corners = False  # for mmseg's post-processing

    def _check_parts(self) -> None:
        vit, head = self.backbone, self.cam_head
        heads = vit.layers[0].attn.num_heads
        pairs = (
            ('backbone.num_cls_tokens', vit.num_extra_tokens, 'cam_head.num_classes', head.num_classes),
            ('the number of blocks', vit.num_layers, 'head_weights.num_blocks', head.head_weights.num_blocks),
            ('the number of heads', heads, 'head_weights.num_heads', head.head_weights.num_heads),
        )
        for name, value, other_name, other in pairs:
            if value != other:
                raise ValueError(f'{name} is {value}, but {other_name} is {other}: they must be equal')

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """Losses of class tokens, coarse and fine CAM.

        Args:
            inputs: (B, 3, H, W), normalised.
            data_samples: with image-level labels.
        """
        tokens = self.backbone.tokens(inputs, watch=self.cam_head.watch)
        return self.cam_head.loss(tokens, image_scores(data_samples))

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of the backbone, each (B, D, h, w)."""
        return self.backbone(inputs)

    def _forward(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> Tensor:
        """Fine CAM (B, C, h, w), on the token grid and not normalised."""
        return self.cam_head(self.backbone.tokens(inputs, watch=self.cam_head.watch)).fine

    @torch.no_grad()
    def cams(self, images: Tensor) -> tuple[Tensor]:
        """Multi-scale CAMs (B, C, H, W) in [0, 1) of normalised images, not multiplied by image-level labels."""
        return self.multi_scale(lambda x: (self._forward(x),), images)

    def multi_scale(self, cam_function: CAMFunction, images: Tensor) -> tuple[Tensor, ...]:
        """CAMs of any function of images as WeakTr makes them: scales by Pillow's bicubic filter, flips added."""
        return multi_scale_cam(
            cam_function, images, scales=self.cam_scales, scale_images=scale_bicubic, merge_flip=torch.add, eps=1e-8
        )

    def encode_decode(self, inputs: Tensor, batch_img_metas: Sequence[dict]) -> Tensor:
        """Scores (B, C + 1, H, W): the threshold as background, then the CAMs of all classes."""
        return self._with_background(self.cams(inputs)[0])

    def _with_background(self, cam: Tensor) -> Tensor:
        """A constant channel in front of (..., C, h, w)."""
        return F.pad(cam, (0, 0, 0, 0, 1, 0), value=self.threshold)

    def predict(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> list[SegDataSample]:
        """Pseudo-labels from CAMs.

        Returns:
            samples with ``pred_sem_seg`` and, with ``test_cfg.cam``, ``cam``: PixelData whose ``data`` is (C, H, W) in
            [0, 1) at the original size; both of the tagged classes where a sample has image-level labels.
        """
        cams = cams_of_samples(self, self.cams(inputs)[0], data_samples)
        samples = data_samples or [SegDataSample() for _ in cams]
        for sample, cam in zip(samples, cams, strict=True):
            label = self._with_background(cam).argmax(dim=0, keepdim=True)  # at a tie the background is first
            sample.set_data({'pred_sem_seg': PixelData(data=label)})
            if self.test_cfg.get('cam', False):
                sample.set_data({'cam': PixelData(data=cam)})
        return list(samples)
