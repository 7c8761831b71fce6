"""Several views of one image: geometry once, photometry per view."""

from collections.abc import Sequence

from mmcv.transforms import BaseTransform, Compose
from mmseg.registry import TRANSFORMS

from .crop import RandomPadCrop


@TRANSFORMS.register_module()
class MultiView(BaseTransform):
    """Build the training views of ToCo so that masks, valid box, main crop and local crops refer to the same pixels.

    ``geometry`` (flip, scale, crop) runs once on the loaded image, on ``gt_seg_map`` too where there is one. The main
    crop and the source of the local views are that one result under two photometries. The second global view has its
    own pipeline and begins with the whole loaded image; no pixel-wise label refers to it.

    Sets ``img`` and ``views``, a dict with ``global_view`` and ``local_view`` as far as they are configured, all uint8
    BGR (H, W, 3). A view that is not configured is not computed; an empty list is a view without photometry.

    Args:
        geometry: transforms of the image and its mask; a ``RandomPadCrop`` must be the last of them, because a later
            flip or resize would make its ``valid_box`` wrong.
        img: transforms of the main crop, photometry only.
        global_view: geometry and photometry of the second global view, from the loaded image.
        local_view: transforms of the source of the local views, photometry only.

    Raises:
        ValueError: a transform follows ``RandomPadCrop`` in ``geometry``.
    """

    def __init__(
        self,
        *,
        geometry: Sequence[dict],
        img: Sequence[dict],
        global_view: Sequence[dict] | None = None,
        local_view: Sequence[dict] | None = None,
    ) -> None:
        self.geometry = _compose(geometry)
        if any(isinstance(transform, RandomPadCrop) for transform in self.geometry.transforms[:-1]):
            raise ValueError(
                'RandomPadCrop must be the last transform of geometry: a later one makes its valid_box wrong'
            )
        self.img = _compose(img)
        self.global_view = _compose(global_view) if global_view is not None else None
        self.local_view = _compose(local_view) if local_view is not None else None

    def transform(self, results: dict) -> dict:
        """Make the views; the geometry of ``img`` is that of ``local_view``, ``global_view`` has its own."""
        loaded = {'img': results['img'], 'img_shape': results['img'].shape[:2]}
        results = self.geometry(results)
        aligned = dict(results)
        results['img'] = self.img(dict(aligned))['img']
        results['views'] = {}
        if self.global_view is not None:
            results['views']['global_view'] = self.global_view(loaded)['img']
        if self.local_view is not None:
            results['views']['local_view'] = self.local_view(aligned)['img']
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(geometry={self.geometry}, img={self.img}, '
            f'global_view={self.global_view}, local_view={self.local_view})'
        )


def _compose(transforms: Sequence[dict]) -> Compose:
    """Build with mmseg's registry: mmcv's own ``Compose`` looks into it only where a default scope is set."""
    return Compose([TRANSFORMS.build(transform) for transform in transforms])
