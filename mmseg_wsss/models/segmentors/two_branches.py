"""Two networks of one config as one segmentor, whose results are averages."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from .base import CAMSegmentor
from .single_stage import SingleStage


class Student(SingleStage):
    """One of the two networks. The method counts the iterations of both, so it has no counter in a checkpoint."""

    get_extra_state = nn.Module.get_extra_state
    set_extra_state = nn.Module.set_extra_state

    def logits(self, maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Segmentation logits (B, C + 1, H, W) of feature maps at the size (H, W)."""
        small = self.decode_head(self.neck(maps) if self.with_neck else maps)
        return F.interpolate(small, size=tuple(size), mode='bilinear', align_corners=self.align_corners)


class TwoBranches(CAMSegmentor, BaseSegmentor):
    """``branch1`` and ``branch2`` have the same config and different initial weights; a method defines ``loss``.

    CAMs and segmentation are the averages of both branches; the CAMs of each are returned beside them (``cam``,
    ``cam_1``, ``cam_2``, ``cam_aux`` ...). A branch alone is tested with ``test_cfg.branches=(1,)``.

    Args:
        background_threshold: of ``CAMSegmentor``.
        data_preprocessor, test_cfg: mmseg's.
        **kwargs: of ``SingleStage``, for each branch: ``backbone``, ``decode_head``, ``cam_head``, ``refiner`` ...

    Raises:
        ValueError: ``test_cfg.branches`` has something else than 1 and 2; and those of ``SingleStage``.
    """

    with_decode_head = True  # mmseg looks for one beside the branches

    def __init__(
        self,
        *,
        background_threshold: float = 0.5,
        data_preprocessor: dict | None = None,
        test_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(background_threshold=background_threshold, data_preprocessor=data_preprocessor)
        chosen = tuple((test_cfg or {}).get('branches', (1, 2)))
        if chosen not in ((1,), (2,), (1, 2)):
            raise ValueError(f'test_cfg.branches must be (1,), (2,) or (1, 2), got {chosen}')
        self.branch1, self.branch2 = (Student(**copy.deepcopy(dict(kwargs, test_cfg=test_cfg))) for _ in range(2))
        self.num_classes, self.align_corners = self.branch1.num_classes, self.branch1.align_corners
        self.test_cfg = test_cfg

    @property
    def branches(self) -> tuple[Student, Student]:
        """Both networks."""
        return self.branch1, self.branch2

    def cams(self, images: Tensor, *, maps: Sequence[Tensor] | None = None) -> dict[str, Tensor]:
        """Multi-scale CAMs of both branches and their averages; ``maps`` are those of :meth:`extract_feat`."""
        own = [None, None] if maps is None else [maps[: len(maps) // 2], maps[len(maps) // 2 :]]
        return _averaged([each.cams(images, maps=one) for each, one in zip(self.branches, own, strict=True)], mean)

    def tag_scores(self, images: Tensor) -> Tensor:
        """Mean of both branches; see the contract."""
        return mean([branch.tag_scores(images) for branch in self.branches])

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of the first branch, then those of the second."""
        return tuple(one for branch in self.branches for one in branch.backbone(inputs))

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Average of the logits (B, C + 1, H, W) of both branches."""
        return mean([branch.encode_decode(inputs, batch_img_metas) for branch in self.branches])

    def _forward(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> Tensor:
        return mean([branch._forward(inputs, data_samples) for branch in self.branches])

    def predict(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> list[SegDataSample]:
        """As every method, with the average of the logits; CAMs are added where ``test_cfg.cam`` asks for them.

        ``test_cfg.branches``, by default (1, 2), are the branches whose logits are averaged.
        """
        chosen, with_cams = self.test_cfg.get('branches', (1, 2)), self.test_cfg.get('cam', False)
        predicted = {}
        for number in (1, 2) if with_cams else chosen:
            branch = self.branches[number - 1]
            branch.test_cfg = self.test_cfg  # tools may change it after the model was built
            own = None if data_samples is None else [sample.new() for sample in data_samples]
            predicted[number] = branch.predict(inputs, own)
        samples = [SegDataSample() for _ in inputs] if data_samples is None else data_samples
        for index, sample in enumerate(samples):
            logits = mean([predicted[number][index].seg_logits.data for number in chosen])
            label = logits.argmax(dim=0, keepdim=True)
            sample.set_data(dict(seg_logits=PixelData(data=logits), pred_sem_seg=PixelData(data=label)))
        if with_cams:
            names = predicted[1][0].cam_names
            found = [{name: [sample.get(name).data for sample in own] for name in names} for own in predicted.values()]
            self.add_cams(samples, _averaged(found, lambda cams: [mean(pair) for pair in zip(*cams, strict=True)]))
        return samples


def mean(tensors: Sequence[Tensor]) -> Tensor:
    """Of tensors of one shape."""
    return torch.stack(list(tensors)).mean(dim=0)


def numbered(of_branches: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What the branches have by name in one dict, the names with the number of the branch."""
    return {f'{name}_{index}': value for index, own in enumerate(of_branches, 1) for name, value in own.items()}


def _averaged(cams: Sequence[Mapping[str, Any]], merge: Callable[[Sequence[Any]], Any]) -> dict[str, Any]:
    """Each name of the branches' CAMs: the average, then those of the branches with their number."""
    found = {}
    for name in cams[0]:
        own = [each[name] for each in cams]
        found |= {name: merge(own)} | numbered({name: one} for one in own)
    return found
