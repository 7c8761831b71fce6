"""What is learned from a folder of photos and their tags: which photos, which classes, and how."""

import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmengine.runner.amp import autocast
from mmseg.registry import MODELS

from ..cores import usable_cores
from ..datasets import ImageTagDataset
from ..datasets.image_files import check_images
from ..datasets.image_labels import Problems, TagFile
from ..datasets.image_labels.names import composed
from ..datasets.image_labels.problems import NO_ENTRY
from ..models.backbones.vit_checkpoint import read_vit_state_dict

FEW = 5  # photos of a class
_PATCHES = 'patch_embed.projection.weight'
_ARCHS = {192: 'deit-tiny', 384: 'deit-small', 768: 'deit-base'}  # by the width of the tokens
# The cost of an image in either training, of a label and of a mask, in training steps of one image of 224 x 224;
# the CRF of a label in seconds of a core; seconds until all tools have started. From one run on two cores.
_CAM_STEP, _SEG_STEP, _LABEL, _MASK, _CRF, _STARTS = 0.95, 1.8, 7.0, 2.0, 0.4, 60.0


class Photos(NamedTuple):
    """The photos that can be learned from: their classes, paths below the folder, and photos per class.

    ``dropped`` are tags that are not learned; ``untagged`` counts the other photos, which get masks too.
    """

    classes: tuple[str, ...]
    dropped: tuple[str, ...]
    names: list[str]
    counts: dict[str, int]
    untagged: int


def read_photos(folder: Path, tags: Path, wanted: Sequence[str] = ()) -> Photos:
    """Match photos and tags.

    Args:
        folder: of the photos.
        tags: CSV or JSON.
        wanted: tags to learn; all by default. Others are dropped.

    Raises:
        DataSetError: everything that is wrong with the files, at once. A photo without an entry is not wrong.
        ValueError: there is no tag, or no photo has a wanted one.
    """
    problems = Problems()
    found = {composed(tag) for entry in TagFile(path=tags).read((), problems) for tag in entry.tags}
    wanted = [composed(tag) for tag in wanted]
    problems.raise_if_any()
    missing = sorted(set(wanted) - found)
    if missing or not found:
        raise ValueError(f'{tags}: no photo has {f"the tag {missing[0]!r}" if missing else "a tag"}')
    classes = tuple(wanted or sorted(found))
    dropped = tuple(sorted(found.difference(classes)))
    labels = dict(type='TagFile', path=os.path.abspath(tags), ignore_tags=dropped)
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = ImageTagDataset(
            classes=classes, image_labels=labels, data_prefix=dict(img_path=str(folder)), lazy_init=True
        )
    infos = dataset.gather(problems)
    unlisted = problems.take(NO_ENTRY)
    tagged = [info for info in infos if info['gt_label'].size]
    check_images((info['img_path'] for info in tagged), problems)
    problems.raise_if_any()
    counts = Counter(classes[k] for info in tagged for k in info['gt_label'])
    names = [Path(os.path.relpath(info['img_path'], folder)).as_posix() for info in tagged]
    return Photos(classes, dropped, names, dict(counts), len(infos) - len(tagged) + len(unlisted))


class Recipe(NamedTuple):
    """Network and lengths of the two trainings.

    ``cam_iters`` are of 32 photos, ``seg_iters`` of 8. ``seconds`` is an estimate of everything, ``why`` says what it
    rests on.
    """

    arch: str
    cam_iters: int
    seg_iters: int
    bfloat16: bool
    seconds: float
    why: str


def choose_recipe(weights: str, *, tagged: int, photos: int) -> Recipe:
    """The width of the weights, epochs by what the hardware can do, and the number format that is faster here.

    Args:
        weights: file or URL of a plain ViT.
        tagged: photos to learn from.
        photos: photos to segment.

    Raises:
        ValueError: the weights are of no network here.
    """
    state = read_vit_state_dict(weights)
    width, patch = (state[key].shape[-1] if key in state else 0 for key in ('cls_token', _PATCHES))
    if width not in _ARCHS or patch != 16:
        widths = ', '.join(map(str, _ARCHS))
        raise ValueError(
            f'{weights}: tokens of width {width}, patches of {patch} pixels; '
            f'a plain ViT of width {widths} with patches of 16 is needed'
        )
    on_gpu = get_device() != 'cpu'
    epochs, low, high = (60, 1000, 10000) if on_gpu else (30, 200, 600)
    cam_iters = min(max(epochs * tagged // 32, low), high)
    steps = {amp: _step_seconds(_ARCHS[width], bfloat16=amp) for amp in (False, True)}
    amp = steps[True] < steps[False]
    images = _CAM_STEP * 32 * cam_iters + _SEG_STEP * 8 * 2 * cam_iters + _LABEL * tagged + _MASK * photos
    seconds = images * steps[amp] + _CRF * tagged / usable_cores() + _STARTS
    name = torch.cuda.get_device_name() if on_gpu else f'{usable_cores()} CPU cores'
    speeds = f'{1 / steps[True]:.0f} images of 224 x 224 per second in bfloat16, {1 / steps[False]:.0f} in float32'
    return Recipe(_ARCHS[width], cam_iters, 2 * cam_iters, amp, seconds, f'{name}: {speeds}')


def _step_seconds(arch: str, *, bfloat16: bool) -> float:
    """Seconds of a training step per image, the second of two steps of eight images."""
    device = get_device()
    with DefaultScope.overwrite_default_scope('mmseg'):
        network = MODELS.build(dict(type='TokenViT', arch=arch)).to(device).train()
    images = torch.rand(8, 3, 224, 224, device=device)
    for _ in range(2):
        begin = time.perf_counter()
        with autocast(dtype=torch.bfloat16, enabled=bfloat16):
            mean = sum(one.float().mean() for one in network(images))
        mean.backward()
        float(mean.detach())  # waits for a GPU
        seconds = time.perf_counter() - begin
    return seconds / len(images)
