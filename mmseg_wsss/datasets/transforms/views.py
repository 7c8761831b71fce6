"""Several views of one image: geometry once, photometry per view."""

from collections import Counter
from collections.abc import Mapping, Sequence

from mmcv.transforms import BaseTransform, Compose
from mmseg.registry import TRANSFORMS

from .crop import RandomPadCrop


@TRANSFORMS.register_module()
class MultiView(BaseTransform):
    """Build named training views so that masks, valid box, main crop and aligned views refer to the same pixels.

    ``geometry`` (flip, scale, crop) runs once on the loaded image, and on ``gt_seg_map`` if present. The main crop and
    every aligned view are that one result, each with its own photometry. A derived view is the finished main crop with
    further photometry. A free view has its own pipeline, which starts
    from the whole loaded image; no pixel-wise label refers to it.

    Sets ``img`` and ``views``, a dict of the named views, all uint8 BGR (H, W, 3). An empty list is a view without
    photometry.

    Args:
        geometry: transforms of the image and its mask; a ``RandomPadCrop`` must be the last of them, because a later
            flip or resize would make its ``valid_box`` wrong.
        img: transforms of the main crop, photometry only.
        aligned: name -> transforms of a view of the same pixels, photometry only.
        derived: name -> transforms of the main crop after its own, photometry only.
        free: name -> geometry and photometry of an independent view.

    Raises:
        ValueError: a transform follows ``RandomPadCrop`` in ``geometry``, or two views have the same name.
    """

    def __init__(
        self,
        *,
        geometry: Sequence[dict],
        img: Sequence[dict],
        aligned: Mapping[str, Sequence[dict]] | None = None,
        derived: Mapping[str, Sequence[dict]] | None = None,
        free: Mapping[str, Sequence[dict]] | None = None,
    ) -> None:
        self.geometry = _compose(geometry)
        if any(isinstance(transform, RandomPadCrop) for transform in self.geometry.transforms[:-1]):
            raise ValueError(
                'RandomPadCrop must be the last transform of geometry: a later one makes its valid_box wrong'
            )
        self.img = _compose(img)
        self.aligned, self.derived, self.free = (
            {name: _compose(transforms) for name, transforms in (views or {}).items()}
            for views in (aligned, derived, free)
        )
        names = Counter(['img', *self.aligned, *self.derived, *self.free])
        twice = sorted(name for name, count in names.items() if count > 1)
        if twice:
            raise ValueError(f'every view needs a name of its own, but {", ".join(twice)} is given twice')

    def transform(self, results: dict) -> dict:
        """Make the views."""
        loaded = {'img': results['img'], 'img_shape': results['img'].shape[:2]}
        results = self.geometry(results)
        crop = dict(results)
        results['img'] = self.img(dict(crop))['img']
        results['views'] = {name: view(dict(loaded))['img'] for name, view in self.free.items()}
        results['views'] |= {name: view(dict(crop))['img'] for name, view in self.aligned.items()}
        crop['img'] = results['img']
        results['views'] |= {name: view(dict(crop))['img'] for name, view in self.derived.items()}
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(geometry={self.geometry}, img={self.img}, aligned={self.aligned}, '
            f'derived={self.derived}, free={self.free})'
        )


def _compose(transforms: Sequence[dict]) -> Compose:
    """Build with mmseg's registry: mmcv's own ``Compose`` uses it only if a default scope is set."""
    return Compose([TRANSFORMS.build(transform) for transform in transforms])
