"""A page of pictures of one training sample, as the data set hands it to the network."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmseg.structures import SegDataSample
from torch import Tensor

from ..datasets.palette import voc_palette


def colorize(mask: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Segmentation ids (H, W) in colours (H, W, 3) uint8; ids beyond the palette get PASCAL VOC's (255: off-white)."""
    return np.array(voc_palette(256, palette), dtype=np.uint8)[mask]


def overlay(image: np.ndarray, colours: np.ndarray, opacity: float | np.ndarray) -> np.ndarray:
    """Blend colours (H, W, 3) over an image of the same shape, opacity in [0, 1], a number or (H, W, 1)."""
    return np.round(image * (1 - opacity) + colours * opacity).astype(np.uint8)


def sample_page(
    inputs: Tensor | Mapping[str, Tensor],
    sample: SegDataSample,
    *,
    classes: Sequence[str] = (),
    palette: Sequence[Sequence[int]] = (),
) -> Figure:
    """Draw all views, with the tags above them and the valid box on ``img``.

    Args:
        inputs: uint8 BGR (3, H, W), or a dict of such views by name, ``img`` among them.
        sample: with ``gt_label``, ``gt_sem_seg`` and ``valid_box``, as far as there are.
        classes, palette: of the data set, background first.
    """
    views = inputs if isinstance(inputs, Mapping) else dict(img=inputs)
    panels = {name: view.permute(1, 2, 0).numpy()[..., ::-1] for name, view in views.items()}
    if 'gt_sem_seg' in sample:
        panels['mask'] = overlay(panels['img'], colorize(sample.gt_sem_seg.data[0].numpy(), palette), 0.6)
    figure = Figure(figsize=(3.2 * len(panels), 3.8), layout='constrained')
    FigureCanvasAgg(figure)  # draws without a display
    for axis, (name, panel) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        axis.imshow(panel)
        axis.set_title(name, fontsize=10)
        axis.set_axis_off()
        if name == 'img' and 'valid_box' in sample.metainfo:
            top, bottom, left, right = sample.metainfo['valid_box']
            corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
            axis.add_patch(Rectangle(corner, *size, fill=False, edgecolor='lime', linewidth=3))
    tags = [classes[k + 1] for k in sample.gt_label.tolist()] if 'gt_label' in sample else []
    figure.suptitle(f'{sample.get("img_path", "")}: {", ".join(tags) or "no tags"}', fontsize=9)
    return figure
