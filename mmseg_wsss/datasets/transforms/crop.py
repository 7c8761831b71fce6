"""Geometry that must hold for every image, however small or thin."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmseg.datasets.transforms import RandomCrop, Resize
from mmseg.registry import TRANSFORMS

from ...structures import IGNORE


@TRANSFORMS.register_module()
class ResizeToFit(Resize):
    """mmseg's ``Resize`` that never lets a side shrink to zero pixels. Meant as ``resize_type`` of ``RandomResize``.

    The largest size that keeps the ratio and fits into ``scale`` is taken, as with ``keep_ratio=True``, but a side that
    would be rounded to zero stays one pixel. Pillow resizes: its bilinear filter averages when it shrinks, so large
    photographs do not alias.

    Args:
        scale: the longer and the shorter side that the result has at most, in any order.
    """

    def __init__(self, *, scale: tuple[int, int]) -> None:
        super().__init__(scale=scale, keep_ratio=False, backend='pillow')

    def _resize_img(self, results: dict) -> None:
        height, width = results['img'].shape[:2]
        limits = results['scale']
        factor = min(max(limits) / max(height, width), min(limits) / min(height, width))
        results['scale'] = (max(1, int(width * factor + 0.5)), max(1, int(height * factor + 0.5)))
        super()._resize_img(results)


@TRANSFORMS.register_module()
class RandomScale(BaseTransform):
    """Scale an image and its mask by a factor drawn evenly from a range, relative to its own size (published ToCo).

    mmcv's ``RandomResize`` draws a size to fit into instead. Sides are rounded down to at least one pixel; Pillow's
    bilinear filter resizes the image.

    Args:
        ratio_range: smallest and largest factor.
    """

    def __init__(self, *, ratio_range: tuple[float, float]) -> None:
        self.ratio_range = tuple(ratio_range)

    def transform(self, results: dict) -> dict:
        """Draw a factor and resize."""
        factor = np.random.uniform(*self.ratio_range)
        height, width = results['img'].shape[:2]
        size = (max(1, int(width * factor)), max(1, int(height * factor)))
        return Resize(scale=size, backend='pillow').transform(results)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(ratio_range={self.ratio_range})'


@TRANSFORMS.register_module()
class ResizeToFill(Resize):
    """mmseg's ``Resize`` for sliding windows: a result smaller than a window is enlarged until it fills the window.

    This is how published Segmenter and WeakTr test: first the largest size that keeps the ratio and fits into
    ``scale``; then, if the shorter side is below ``window``, a bilinear resize of it to that size, with the longer side
    rounded down. The second step is not rounded to 8 bits, so ``img`` is float32 after it. Load masks after this
    transform.

    Modifies ``img`` and ``img_shape``, adds ``scale``, ``scale_factor`` and ``keep_ratio``, as ``Resize`` does.

    Args:
        scale: the longer and the shorter side that the first step has at most, in any order.
        window: side of the windows in pixels.
    """

    def __init__(self, *, scale: tuple[int, int], window: int) -> None:
        super().__init__(scale=scale, keep_ratio=True)
        self.window = window

    def _resize_img(self, results: dict) -> None:
        height, width = results['img'].shape[:2]
        super()._resize_img(results)
        image = results['img']
        short = min(image.shape[:2])
        if short < self.window:
            rows, columns = (
                self.window if side == short else int(side / short * self.window) for side in image.shape[:2]
            )
            results['img'] = cv2.resize(image.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
            results['img_shape'] = (rows, columns)
            results['scale_factor'] = (columns / width, rows / height)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(scale={self.scale}, window={self.window})'


@TRANSFORMS.register_module()
class RandomPadCrop(BaseTransform):
    """Cut a random window of ``crop_size``; a smaller image is first put at a random position on a black canvas.

    As in ToCo's training (https://arxiv.org/abs/2303.01267). It must be the last geometric transform, because
    ``valid_box`` refers to its output. It uses numpy's global random state, as mmcv's transforms do; mmengine seeds it
    in each worker.

    Modifies ``img`` (padded with 0), ``gt_seg_map`` if present (padded with 255), ``img_shape``.
    Adds ``valid_box`` = (h0, h1, w0, w1), half open: ``img[h0:h1, w0:w1]`` shows the image, the rest is padding.

    Args:
        crop_size: (height, width) of the output.
    """

    def __init__(self, *, crop_size: tuple[int, int]) -> None:
        if len(crop_size) != 2 or min(crop_size) < 1:
            raise ValueError(f'crop_size must be (height, width), both at least 1, but is {crop_size}')
        self.crop_size = tuple(crop_size)

    def transform(self, results: dict) -> dict:
        """Cut the window out of the image and its mask."""
        shape = results['img'].shape[:2]
        (source_h, target_h), (source_w, target_w) = (
            self._window(side, crop) for side, crop in zip(shape, self.crop_size, strict=True)
        )
        for key, fill in (('img', 0), ('gt_seg_map', IGNORE)):
            if key in results:
                canvas = np.full((*self.crop_size, *results[key].shape[2:]), fill, dtype=results[key].dtype)
                canvas[target_h, target_w] = results[key][source_h, source_w]
                results[key] = canvas
        results['img_shape'] = self.crop_size
        results['valid_box'] = (target_h.start, target_h.stop, target_w.start, target_w.stop)
        return results

    @staticmethod
    def _window(side: int, crop: int) -> tuple[slice, slice]:
        """Draw one axis: the part of the image that is visible and its position in the crop."""
        shown = min(side, crop)
        source = np.random.randint(side - shown + 1)
        target = np.random.randint(crop - shown + 1)
        return slice(source, source + shown), slice(target, target + shown)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(crop_size={self.crop_size})'


@TRANSFORMS.register_module()
class RandomMixedCrop(RandomCrop):
    """mmseg's ``RandomCrop`` with its ``cat_max_ratio``, which counts ids instead of sorting all pixels.

    The draws and the windows are the same; with a crop of 480 x 480 an attempt takes a tenth of the time, and there
    may be ten of them. ``gt_seg_map`` must be uint8, as ``LoadMask`` returns it.
    """

    @cache_randomness
    def crop_bbox(self, results: dict) -> tuple[int, int, int, int]:
        """Draw (top, bottom, left, right) until no class has too large a share of the crop, ten more times at most."""
        box = self._draw(results['img'].shape)
        if self.cat_max_ratio < 1:
            for _ in range(10):
                if self._is_mixed(self.crop(results['gt_seg_map'], box)):
                    break
                box = self._draw(results['img'].shape)
        return box

    def _draw(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        (height, width), (crop_h, crop_w) = shape[:2], self.crop_size
        top = np.random.randint(max(height - crop_h, 0) + 1)
        left = np.random.randint(max(width - crop_w, 0) + 1)
        return top, top + crop_h, left, left + crop_w

    def _is_mixed(self, mask: np.ndarray) -> bool:
        counts = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel().astype(np.int64)  # OpenCV 5 has no (256, 1)
        counts[self.ignore_index] = 0
        return np.count_nonzero(counts) > 1 and counts.max() / counts.sum() < self.cat_max_ratio
