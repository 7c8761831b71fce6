"""Instance annotations of COCO as semantic masks."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pycocotools import mask as rle_codec

from mmseg_wsss.datasets.image_labels import Problems
from mmseg_wsss.datasets.image_labels.names import image_name
from mmseg_wsss.datasets.image_labels.problems import DUPLICATE, OUTSIDE, UNREADABLE
from mmseg_wsss.datasets.mask_files import is_whole_palette_png, write_mask
from mmseg_wsss.structures import BACKGROUND, IGNORE
from mmseg_wsss.text_files import read_json


class Instance(NamedTuple):
    """One annotation: the id in the mask, its polygons or run lengths, and its position in the file."""

    id: int
    crowd: bool
    segmentation: list | dict
    where: str


class AnnotatedImage(NamedTuple):
    """An image with at least one annotation; ``name`` is its path without extension."""

    name: str
    height: int
    width: int
    instances: list[Instance]


class MaskTask(NamedTuple):
    """A mask to write."""

    target: Path
    image: AnnotatedImage


def read_instances(path: Path, problems: Problems) -> tuple[list[AnnotatedImage], list[str]]:
    """The images of ``instances_*.json`` that have annotations, by name, and the names of the ids 1, 2, ...

    The ids number the categories in ascending order without gaps: COCO's 80 categories have the ids 1..90 with gaps.

    Raises:
        DataSetError: the file cannot be read, or has more categories than a mask has ids.
    """
    with problems.stopping(UNREADABLE):
        content = read_json(path)
    try:
        names = {int(category['id']): str(category['name']) for category in content['categories']}
        images = {}
        for i, image in enumerate(content['images']):
            if images.setdefault(int(image['id']), image) is not image:
                problems.add(DUPLICATE, f'{path}: images[{i}]: the id {image["id"]} belongs to two images')
        ids = {category: i for i, category in enumerate(sorted(names), start=1)}
        instances: dict[int, list[Instance]] = {}
        for i, item in enumerate(content['annotations']):
            where = f'{path}: annotations[{i}]'
            image, category = int(item['image_id']), int(item['category_id'])
            if image in images and category in ids:
                instance = Instance(ids[category], bool(item.get('iscrowd', 0)), item['segmentation'], where)
                instances.setdefault(image, []).append(instance)
            else:
                text = f'image_id {image} or category_id {category} is not in the file'
                problems.add(UNREADABLE, f'{where}: {text}')
        annotated: dict[str, AnnotatedImage] = {}
        for identity, group in instances.items():
            image = images[identity]
            _add(annotated, image['file_name'], int(image['height']), int(image['width']), group, problems)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        problems.stop(UNREADABLE, f'{path}: no instance annotations of COCO: {error!r}')
    if len(names) >= IGNORE:
        problems.stop(UNREADABLE, f'{path}: {len(names)} categories, an 8-bit mask holds at most {IGNORE - 1}')
    return [annotated[name] for name in sorted(annotated)], [names[category] for category in sorted(names)]


def _add(
    annotated: dict[str, AnnotatedImage], file: str, height: int, width: int, group: list[Instance], problems: Problems
) -> None:
    try:
        name = image_name(file)
    except ValueError as error:
        problems.add(OUTSIDE, f'{group[0].where}: {error}')
        return
    if name in annotated:
        problems.add(DUPLICATE, f'{group[0].where}: a second image is called {name}')
    annotated[name] = AnnotatedImage(name, height, width, group)


def draw_instances(instances: Sequence[Instance], height: int, width: int) -> np.ndarray:
    """Draw instances into one mask, uint8 (H, W); 0 is background.

    Crowd regions (a number of objects outlined as one) become 255 and lie below all objects. Of two objects the one
    with fewer pixels lies on top, so that a cup on a table is not lost; of two of equal size the later in the file.

    Raises:
        ValueError: a segmentation cannot be read; the message begins with its position in the file.
    """
    regions = [_region(instance, height, width) for instance in instances]
    areas = [int(rle_codec.area(region)) for region in regions]
    mask = np.full((height, width), BACKGROUND, np.uint8)
    for k in sorted(range(len(instances)), key=lambda k: (not instances[k].crowd, -areas[k])):
        if areas[k]:
            mask[rle_codec.decode(regions[k]).astype(bool)] = IGNORE if instances[k].crowd else instances[k].id
    return mask


def _region(instance: Instance, height: int, width: int) -> dict:
    """The region as compressed run lengths; polygons of fewer than three points have no area and are left out."""
    segmentation = instance.segmentation
    try:
        if isinstance(segmentation, list):
            polygons = [[float(value) for value in polygon] for polygon in segmentation]
            if any(len(polygon) % 2 for polygon in polygons):
                raise ValueError('a polygon with an odd number of coordinates')
            if not np.isfinite([value for polygon in polygons for value in polygon]).all():
                raise ValueError('a polygon with a coordinate that is not a number')
            polygons = [polygon for polygon in polygons if len(polygon) >= 6]
            if not polygons:
                return rle_codec.frPyObjects({'size': [height, width], 'counts': [height * width]}, height, width)
            return rle_codec.merge(rle_codec.frPyObjects(polygons, height, width))
        if list(segmentation['size']) != [height, width]:
            raise ValueError(f'run lengths for height and width {segmentation["size"]}, the image has {height, width}')
        if isinstance(segmentation['counts'], list):
            counts = [int(count) for count in segmentation['counts']]
            if min(counts, default=0) < 0 or sum(counts) != height * width:
                raise ValueError(f'run lengths of {sum(counts)} pixels, the image has {height * width}')
            return rle_codec.frPyObjects({'size': [height, width], 'counts': counts}, height, width)
        return {'size': [height, width], 'counts': segmentation['counts']}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f'{instance.where}: the segmentation cannot be read: {error}') from error


def write_instance_mask(task: MaskTask) -> tuple[bool, str | None]:
    """Write a mask unless it exists; returns whether it was written, and what is wrong with the annotations."""
    image = task.image
    if is_whole_palette_png(task.target, (image.width, image.height)):
        return False, None
    try:
        write_mask(task.target, draw_instances(image.instances, image.height, image.width))
    except ValueError as error:
        return False, str(error)
    return True, None
