"""What segmentors without a decode head share: their CAMs, and labels from them."""

from collections.abc import Callable, Sequence

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor

from ..cam import multi_scale_cam, scale_bicubic
from .base import CAMSegmentor, require_labels_of


class CAMOnly(CAMSegmentor, BaseSegmentor):
    """A segmentor whose CAMs are all that it has; it predicts the class of the highest one.

    A subclass has a ``backbone`` and a ``cam_head`` with ``num_classes``, and defines :meth:`raw_cams`.

    Attributes:
        merge_flip: how the CAMs of an image and of its mirror image are merged; None: no mirror images.

    Args:
        cam_scales: scales at test time, summed.
        test_cfg: ``cam=True`` to return the CAM beside the segmentation.
        pretrained: None, as mmseg's ``init_model`` passes it to every segmentor.
        **kwargs: ``background_threshold``, mmseg's ``data_preprocessor`` ...
    """

    merge_flip: Callable[[Tensor, Tensor], Tensor] | None = staticmethod(torch.add)

    def __init__(
        self,
        *,
        cam_scales: Sequence[float],
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        pretrained: None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if pretrained is not None:
            raise ValueError("pretrained is not used: give backbone.init_cfg=dict(type='Pretrained', checkpoint=...)")
        self.cam_scales = tuple(cam_scales)
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg or {}
        self.align_corners = False  # for mmseg's post-processing

    @property
    def num_classes(self) -> int:
        """C + 1, with the background, as mmseg's segmentors count."""
        return self.cam_head.num_classes + 1

    def raw_cams(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """CAMs (B, C, h, w) on the token grid, not normalised; see :meth:`cams`."""
        raise NotImplementedError(f'{type(self).__name__} defines no raw_cams()')

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of the backbone, each (B, D, h, w)."""
        return self.backbone(inputs)

    def _forward(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> Tensor:
        """CAM (B, C, h, w), on the token grid and not normalised."""
        return self.raw_cams(inputs)

    @torch.no_grad()
    def cams(
        self, images: Tensor, *, maps: Sequence[Tensor] | None = None, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Multi-scale CAM; see the contract. Attention is not in ``maps``, so nothing is reused."""

        def raw_cams(x: Tensor) -> dict[str, Tensor]:  # of the images, or of them and then their mirror images
            own = None if labels is None else labels.repeat(len(x) // len(labels), 1)
            return dict(cam=self.raw_cams(x, own))

        return multi_scale_cam(
            raw_cams,
            images,
            scales=self.cam_scales,
            scale_images=scale_bicubic,
            merge_flip=self.merge_flip,
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

        Raises:
            ValueError: an image-level label is over another number of classes.
        """
        samples = data_samples or [SegDataSample() for _ in inputs]
        require_labels_of(samples, self.num_classes - 1)
        # all classes may be present where nothing is known
        scores = [sample.get('gt_score', torch.ones(self.num_classes - 1)) for sample in samples]
        labels = torch.stack([one.to(inputs.device) for one in scores])
        cams = self.original_cams(self.cams(inputs, labels=labels), data_samples)
        for sample, cam in zip(samples, cams['cam'], strict=True):
            label = self.with_background(cam).argmax(dim=0, keepdim=True)  # at a tie the background is first
            sample.set_data({'pred_sem_seg': PixelData(data=label)})
        if self.test_cfg.get('cam', False):
            self.add_cams(samples, cams)
        return list(samples)
