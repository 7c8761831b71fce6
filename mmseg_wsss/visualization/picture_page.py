"""A page of pictures: one row per sample with image, CAM, pseudo-label, prediction and ground truth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..datasets.palette import voc_palette
from ..fileio import whole_file

TITLES = ('image', 'CAM', 'pseudo-label', 'prediction', 'ground truth')


@dataclass(kw_only=True)
class PictureRow:
    """What one row of the page shows; maps have the size (H, W) of the image.

    Args:
        image: (H, W, 3) uint8 RGB.
        cam: (C, H, W) in [0, 1]; its maximum over the classes is shown as heat.
        pseudo_label: (H, W) segmentation ids, 255 for uncertain.
        prediction: (H, W) segmentation ids.
        ground_truth: (H, W) segmentation ids, 255 for ignored; None where there is no mask.
        title: Text beside the row, for example the tags.
        photo: whether ``image`` gets its own column.
    """

    image: np.ndarray
    cam: np.ndarray
    pseudo_label: np.ndarray
    prediction: np.ndarray
    ground_truth: np.ndarray | None = None
    title: str = ''
    photo: bool = True

    def __post_init__(self) -> None:
        size = self.image.shape[:2]
        for name in ('cam', 'pseudo_label', 'prediction', 'ground_truth'):
            value = getattr(self, name)
            if value is not None and value.shape[-2:] != size:
                raise ValueError(f'{name} is {value.shape[-2:]}, its image {size} ({self.title})')


def colorize(mask: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Segmentation ids (H, W) in colours (H, W, 3) uint8; ids beyond the palette get PASCAL VOC's (255: off-white)."""
    return np.array(voc_palette(256, palette), dtype=np.uint8)[mask]


def overlay(image: np.ndarray, colours: np.ndarray, opacity: float | np.ndarray) -> np.ndarray:
    """Blend colours (H, W, 3) over an image of the same shape, opacity in [0, 1], a number or (H, W, 1)."""
    return np.round(image * (1 - opacity) + colours * opacity).astype(np.uint8)


def heat(image: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """The largest activation over the classes of ``cam`` (C, H, W) as colours over the image, (H, W, 3) uint8."""
    strongest = np.clip(cam.max(axis=0), 0, 1)
    return overlay(image, 255 * colormaps['turbo'](strongest)[..., :3], 0.6)


def without_photos(rows: Sequence[PictureRow]) -> list[PictureRow]:
    """The same rows on white, for photographs that must not be published; their page has no column of images."""
    return [replace(row, image=np.full_like(row.image, 255), photo=False) for row in rows]


def picture_page(
    rows: Sequence[PictureRow], *, classes: Sequence[str], palette: Sequence[Sequence[int]] = (), width: float = 13
) -> Figure:
    """Draw the page.

    Args:
        rows: One per sample.
        classes: Names of the segmentation ids, background first; the legend lists those that appear.
        palette: RGB in 0..255 per class; PASCAL VOC's colours where it is too short.
        width: Width of the page in inches.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError('a page of pictures needs at least one sample')
    titles = TITLES if any(row.photo for row in rows) else TITLES[1:]
    cell = width / len(titles)
    heights = [max(0.35, min(1.1, row.image.shape[0] / row.image.shape[1])) for row in rows]
    top = 0.3 + 0.35 * (1 + len(classes) // 10)  # inches above the pictures: titles below the legend
    figure = Figure(figsize=(width, cell * sum(heights) + top))
    FigureCanvasAgg(figure)  # draws without a display
    axes = figure.subplots(
        len(rows),
        len(titles),
        squeeze=False,
        gridspec_kw={
            'height_ratios': heights, 'wspace': 0.03, 'hspace': 0.03, 'left': 0.03, 'right': 0.995, 'bottom': 0.005,
            'top': 1 - top / figure.get_figheight(),
        },
    )  # fmt: skip
    for row, line in zip(rows, axes, strict=True):
        _draw_row(row, line, palette)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10)
    _draw_legend(figure, rows, classes, palette)
    return figure


def _draw_row(row: PictureRow, axes: Sequence, palette: Sequence[Sequence[int]]) -> None:
    """One sample, with the photograph if there is a column for it; without ground truth that cell stays empty."""
    masks = [row.pseudo_label, row.prediction, row.ground_truth]
    panels = [row.image, heat(row.image, row.cam)]
    panels += [None if mask is None else overlay(row.image, colorize(mask, palette), 0.75) for mask in masks]
    for axis, panel in zip(axes, panels[-len(axes) :], strict=True):
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_frame_on(False)
        if panel is not None:
            axis.imshow(panel)
    axes[0].set_ylabel(row.title, fontsize=8)


def _draw_legend(
    figure: Figure, rows: Sequence[PictureRow], classes: Sequence[str], palette: Sequence[Sequence[int]]
) -> None:
    """Colours of the ids that appear on the page."""
    masks = [mask for row in rows for mask in (row.pseudo_label, row.prediction, row.ground_truth) if mask is not None]
    names = dict(enumerate(classes)) | {255: 'uncertain / ignored'}
    ids = [int(i) for i in np.unique(np.concatenate([mask.ravel() for mask in masks]))]
    colours = colorize(np.array(ids), palette) / 255
    patches = [
        Patch(facecolor=colour, edgecolor='gray', label=names.get(i, f'id {i}'))
        for i, colour in zip(ids, colours, strict=True)
    ]
    figure.legend(handles=patches, loc='upper center', ncols=min(len(patches), 10), fontsize=8, frameon=False)


def save_page(figure: Figure, path: str | Path, *, dpi: int = 110) -> None:
    """Write the page as a PNG, complete or not at all; the folder is made."""
    with whole_file(path) as temporary:
        figure.savefig(temporary, format='png', dpi=dpi)
