"""Decode images and masks of any common format, or raise an error that names the file."""

from pathlib import Path

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL import Image, ImageOps

from ...registry import REGISTRIES
from ..image_files import strip_error
from ..mask_files import open_mask
from ..open_image import open_image


def _decode(path: str) -> Image.Image:
    """Load all pixels of the file's first frame and turn them upright."""
    with open_image(path) as image:
        image.load()
        return ImageOps.exif_transpose(image)


def _to_8_bit(image: Image.Image, path: str) -> Image.Image:
    """Scale a 16-bit gray image to 8 bits: 0..65535 becomes 0..255. Pillow's own ``convert`` would clip at 255."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(
            f'{path}: 32-bit pixel values {values.min()}..{values.max()} have no known white; '
            'save it as an 8- or 16-bit image'
        )
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _to_rgb(image: Image.Image, path: str) -> Image.Image:
    """Bring every Pillow mode to RGB; see :class:`LoadImage` for what happens to alpha and bit depth."""
    if image.mode == 'F':
        raise ValueError(f'{path}: floating-point pixels have no known white; save it as an 8- or 16-bit image')
    if image.mode.startswith('I'):
        image = _to_8_bit(image, path)
    elif image.has_transparency_data:
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    return image.convert('RGB')


def read_image(path: str | Path) -> np.ndarray:
    """Read one image file as uint8 BGR (H, W, 3), upright; the rules are those of :class:`LoadImage`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not an image, is truncated or damaged, has more pixels than Pillow's limit against
            decompression bombs (``PIL.Image.MAX_IMAGE_PIXELS``), is a strip with one side more than 100 times the
            other, or its pixel values have no known range.
    """
    image = _decode(str(path))
    if strip := strip_error(image.size):
        raise ValueError(f'{path}: {strip}')
    rgb = np.asarray(_to_rgb(image, str(path)))
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)


@REGISTRIES['TRANSFORMS'].register_module(name='LoadImageFromFile')
@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Decode ``results['img_path']`` with Pillow into a uint8 BGR array (H, W, 3).

    - Gray, bilevel, palette, CMYK, YCbCr and LAB images become colour by Pillow's conversion.
    - Transparent pixels are blended over white, as image viewers show them.
    - 16-bit gray is scaled (65535 -> 255), not clipped.
    - The EXIF orientation is applied: the array is upright, as people and labelling tools see the picture.
    - Of an animation the first frame is taken.

    Adds ``img``, ``img_shape`` and ``ori_shape`` (height, width).

    In the scope ``mmseg_wsss`` it is called ``LoadImageFromFile`` too, as test pipelines have it: mmseg's
    ``MMSegInferencer`` looks for that name and puts its own loader of files and arrays there, which then is made of it.

    Raises:
        FileNotFoundError, ValueError: the file is missing or cannot be read; the message begins with its name.
    """

    def transform(self, results: dict) -> dict:
        """Read the image and note its size."""
        image = read_image(results['img_path'])
        results['img'] = image
        results['img_shape'] = image.shape[:2]
        results['ori_shape'] = image.shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadMask(LoadAnnotations):
    """mmseg's ``LoadAnnotations`` that refuses masks that are not id maps or do not fit their image.

    A mask is a palette or gray 8-bit file whose pixel values are segmentation ids (255 = ignore). It must have the
    size of the *upright* image (EXIF orientation applied, see :class:`LoadImage`). A mask drawn on the pixels as stored
    cannot be detected if the orientation keeps the size (180 degrees, mirrored, square images). An image without
    ``seg_map_path`` passes unchanged: weakly labelled images need no mask.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a colour, black-and-white or 16-bit mask, a damaged file, or a size other than the image's; the
            message names the files.
    """

    def transform(self, results: dict) -> dict:
        """Read and check the mask where the sample has one."""
        if results.get('seg_map_path') is None:
            return results
        results.setdefault('seg_fields', [])
        results.setdefault('reduce_zero_label', False)
        return super().transform(results)

    def _load_seg_map(self, results: dict) -> None:
        path = results['seg_map_path']
        with open_mask(path) as mask:
            width, height = mask.size
            super()._load_seg_map(results)
        # The parent squeezes away a side of one pixel.
        results['gt_seg_map'] = results['gt_seg_map'].reshape(height, width)
        expected = results.get('ori_shape')
        if expected is not None and tuple(expected) != (height, width):
            hint = (
                'it looks drawn on the unrotated pixels (the image has an EXIF orientation); rotate the mask'
                if tuple(expected) == (width, height)
                else 'a mask needs one id for each pixel of its image'
            )
            image_path = results.get('img_path', 'its image')
            raise ValueError(
                f'mask {path} is {width} x {height} pixels but image {image_path} is '
                f'{expected[1]} x {expected[0]}: {hint}'
            )
