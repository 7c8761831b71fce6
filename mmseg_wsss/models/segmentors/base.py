"""The contract of a method: what tools, metrics and pages need from a segmentor with class activation maps."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from ...compat import ShortInitLog

Starts = Mapping[str, int]


class CAMSegmentor(ShortInitLog):
    """Mixin of an mmseg segmentor with class activation maps (CAMs); it comes before mmseg's class.

    A method defines :meth:`cams`; if ``test_cfg.cam`` is set, its ``predict`` calls :meth:`add_cams`. Tools and metrics
    use nothing else of it: each sample contains the names of its CAMs and their threshold. A method whose losses begin
    at different iterations also derives from :class:`StartedLosses`.

    Attributes:
        views: names of the training inputs beside ``img`` that the loss needs, for :meth:`named_views`.
        needs_checkpoint: whether tools need a checkpoint of it; False: ``init_weights`` loads all that there is.

    Args:
        background_threshold: the one threshold of its CAMs, in [0, 1): a pixel whose CAMs all stay at or below
            it is background, in ``predict``, in the metric, on pages, and by default in the label tool.
        **kwargs: of mmseg's class.

    Raises:
        ValueError: the threshold is not in [0, 1).
    """

    views: tuple[str, ...] = ()
    needs_checkpoint: bool = True

    def __init__(self, *, background_threshold: float = 0.5, **kwargs) -> None:
        super().__init__(**kwargs)
        if not 0 <= background_threshold < 1:
            raise ValueError(f'background_threshold must be in [0, 1), got {background_threshold}')
        self.background_threshold = float(background_threshold)

    def cams(self, images: Tensor, *, maps: Sequence[Tensor] | None = None) -> dict[str, Tensor]:
        """Named multi-scale CAMs, each (B, C, H, W) in [0, 1), not masked by image-level labels.

        The first name is the method's own CAM, the one that labels are made of. A method whose CAMs depend on which
        classes are present (``CLIPCAM``) also takes ``labels`` (B, C), passes those that are known in its ``predict``,
        and may return zeros for the other classes.

        Args:
            images: (B, 3, H, W), normalised.
            maps: the backbone's feature maps of ``images`` if they are known, so that the pass is not repeated.
        """
        raise NotImplementedError(f'{type(self).__name__} defines no cams()')

    def tag_scores(self, images: Tensor) -> Tensor:
        """How sure the classifier is that a class is on an image: (B, C) in [0, 1], without any image-level label.

        Args:
            images: (B, 3, H, W), normalised.
        """
        raise NotImplementedError(f'{type(self).__name__} defines no tag_scores()')

    def named_views(self, inputs: Mapping[str, Tensor] | Tensor) -> Mapping[str, Tensor]:
        """The training inputs by name; a plain tensor stands for ``img``.

        Raises:
            ValueError: a view that the loss needs is missing.
        """
        given = inputs if isinstance(inputs, Mapping) else dict(img=inputs)
        missing = [name for name in self.views if name not in given]
        if missing:
            raise ValueError(f'the loss needs {" and ".join(missing)} beside {sorted(given)}: add them to MultiView')
        return given

    def original_cams(
        self, cams: Mapping[str, Tensor], data_samples: Sequence[SegDataSample] | None
    ) -> dict[str, list[Tensor]]:
        """CAMs without padding, unflipped and at the original size by mmseg's post-processing, of present classes.

        Args:
            cams: of :meth:`cams`, at the size of the network's inputs.
            data_samples: mmseg's samples of the inputs; without them the CAMs are returned unchanged. A sample without
                image-level labels keeps all classes.

        Returns:
            name -> per image (C, h, w).

        Raises:
            ValueError: an image-level label is over another number of classes.
        """
        return {name: self._original(cam, data_samples) for name, cam in cams.items()}

    def _original(self, cams: Tensor, data_samples: Sequence[SegDataSample] | None) -> list[Tensor]:
        if data_samples is None:
            return list(cams)
        # A channel in front, because mmseg treats a single channel as the output of a sigmoid.
        padded = F.pad(cams, (0, 0, 0, 0, 1, 0))
        copies = [SegDataSample(metainfo=sample.metainfo) for sample in data_samples]
        originals = [copy.seg_logits.data[1:] for copy in self.postprocess_result(padded, copies)]
        require_labels_of(data_samples, cams.shape[1])
        return [
            cam * sample.gt_score[:, None, None] if 'gt_score' in sample else cam
            for cam, sample in zip(originals, data_samples, strict=True)
        ]

    def add_cams(self, samples: Sequence[SegDataSample], cams: Mapping[str, Sequence[Tensor]]) -> None:
        """Write every CAM into its sample as a PixelData of its name, with ``cam_names`` and ``background_threshold``.

        Args:
            samples: predictions.
            cams: name -> per sample (C, h, w), of :meth:`original_cams`.
        """
        for name, maps in cams.items():
            for sample, cam in zip(samples, maps, strict=True):
                sample.set_data({name: PixelData(data=cam)})
        for sample in samples:
            sample.set_metainfo(dict(cam_names=tuple(cams), background_threshold=self.background_threshold))

    def with_background(self, cam: Tensor) -> Tensor:
        """The threshold as a constant channel in front of CAMs (..., C, h, w)."""
        return F.pad(cam, (0, 0, 0, 0, 1, 0), value=self.background_threshold)


def require_labels_of(samples: Sequence[SegDataSample], count: int) -> None:
    """Refuse samples whose image-level label is over another number of classes than ``count``; none is fine.

    Raises:
        ValueError: there is one; the message names its image.
    """
    for sample in samples:
        if 'gt_score' in sample and len(sample.gt_score) != count:
            path = sample.get('img_path', 'a sample')
            raise ValueError(
                f'{path}: the image-level label is over {len(sample.gt_score)} classes, the network over {count}'
            )


class StartedLosses:
    """Mixin of an mmseg segmentor whose losses begin at different iterations; it comes before mmseg's class.

    Attributes:
        starts: first iteration, counted from 0, in which each loss counts.
        iteration: number of training steps made; saved with the weights, so a resumed training continues with the same
            losses, and one that starts from a finished checkpoint (``load_from``) has all losses on from its start.
        trains: names of the losses that are on -> names of the modules that learn by that loss alone, as
            ``named_modules`` has them.
    """

    starts: dict[str, int]
    iteration: int
    trains: dict[str, tuple[str, ...]]

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.starts, self.trains, self.iteration = {}, {}, 0

    def set_starts(self, starts: Starts | None, names: Sequence[str]) -> None:
        """Set the starts from a config; a loss that it leaves out starts at 0.

        Raises:
            ValueError: a name is unknown or a start negative.
        """
        given = dict(starts or {})
        wrong = [f'{name}={start}' for name, start in given.items() if name not in names or start < 0]
        if wrong:
            raise ValueError(f'starts has {", ".join(wrong)}; it takes iterations from 0 for {", ".join(names)}')
        self.starts = {name: given.get(name, 0) for name in names}

    def has_begun(self, name: str) -> bool:
        """Whether a loss counts in this iteration."""
        return self.iteration >= self.starts.get(name, 0)

    def begun(self) -> set[str]:
        """The losses that are on and count in this iteration."""
        return {name for name in self.trains if self.has_begun(name)}

    def not_begun(self) -> dict[str, Tensor]:
        """A gradient of 0 instead of none for modules whose own loss has not started.

        The optimizer then counts these steps, as in trainings that multiply such a loss by 0: AdamW's first step after
        2,001 of them is 3.2 times as long as its first step ever, and weight decay acts from the beginning. Every
        process of a distributed training has the same gradients, whatever wraps the model.
        """
        waiting = {name for loss, names in self.trains.items() if not self.has_begun(loss) for name in names}
        modules = [module for name, module in self.named_modules() if name in waiting]
        trained = [one for module in modules for one in module.parameters() if one.requires_grad]
        return dict(loss_not_begun=0 * sum(one.sum() for one in trained)) if trained else {}

    def get_extra_state(self) -> Tensor:
        """The iteration counter, as a tensor beside the parameters: mmengine broadcasts the whole state."""
        return torch.tensor(self.iteration, device=next(self.parameters()).device)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the iteration counter."""
        self.iteration = int(state)
