"""A run as one HTML file that needs no network and no program but a browser."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure
from PIL import Image

from ..datasets.palette import voc_palette

LAYERS = {
    'photo': 'image',
    'cam': 'CAM',
    'label': 'pseudo-label',
    'prediction': 'prediction',
    'truth': 'ground truth',
}


@dataclass(kw_only=True)
class Picture:
    """An image and its maps, all of size (H, W); what there is not is None.

    Args:
        name: of the image, and its path.
        tags: names of its classes.
        iou: mean IoU of the image, in percent.
        photo: (H, W, 3) uint8 RGB.
        cam: (C, H, W) in [0, 1]; its maximum over the classes is shown.
        label, prediction, truth: (H, W) segmentation ids; 255 for uncertain or ignored.
    """

    name: str = ''
    path: str = ''
    tags: Sequence[str] = ()
    iou: float | None = None
    photo: np.ndarray | None = None
    cam: np.ndarray | None = None
    label: np.ndarray | None = None
    prediction: np.ndarray | None = None
    truth: np.ndarray | None = None

    def drawn(self, palette: Sequence[Sequence[int]]) -> dict[str, Image.Image]:
        """Layer -> its picture; masks and CAM are transparent where they show nothing."""
        found = {}
        if self.photo is not None:
            found['photo'] = Image.fromarray(self.photo)
        if self.cam is not None:
            found['cam'] = _heat(self.cam)
        for name in ('label', 'prediction', 'truth'):
            if (mask := getattr(self, name)) is not None:
                found[name] = _coloured(mask, palette)
        return found

    def layers(self, palette: Sequence[Sequence[int]], side: int) -> dict[str, str]:
        """Layer -> ``data:`` address of its picture, no longer than ``side`` pixels."""
        return {name: _address(one, side, name) for name, one in self.drawn(palette).items()}

    def composed(self, names: Sequence[str], palette: Sequence[Sequence[int]], side: int) -> np.ndarray:
        """These layers on top of each other, masks at 70 %, as (h, w, 3) uint8 no longer than ``side`` pixels."""
        drawn = {name: _reduced(one, side) for name, one in self.drawn(palette).items()}
        stack = Image.new('RGBA', next(iter(drawn.values())).size, 'white')
        for name in (name for name in LAYERS if name in names and name in drawn):
            layer = drawn[name].convert('RGBA')
            if name in ('label', 'prediction', 'truth'):
                layer.putalpha(layer.getchannel('A').point(lambda alpha: round(0.7 * alpha)))
            stack.alpha_composite(layer)
        return np.array(stack.convert('RGB'))


@dataclass(kw_only=True)
class Report:
    """What a report shows.

    Args:
        title: its heading.
        about: lines below it.
        tables: heading -> rows of cells, the first of them the head.
        losses: heading -> lines of a log, each with ``iter`` and losses.
        samples: drawings of what the training sees.
        pictures: shown in this order.
        classes: names of the segmentation ids, background first.
        palette: RGB in 0..255 per class; PASCAL VOC's colours where it is too short.
    """

    title: str
    about: Sequence[str] = ()
    tables: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    losses: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    samples: Sequence[Figure] = ()
    pictures: Sequence[Picture] = ()
    classes: Sequence[str] = ()
    palette: Sequence[Sequence[int]] = ()

    def html(self, *, side: int = 320) -> str:
        """The page, its pictures no longer than ``side`` pixels."""
        pictures = [(one, one.layers(self.palette, side)) for one in self.pictures]
        shown = [name for name in LAYERS if any(name in layers for _, layers in pictures)]
        colours = voc_palette(256, self.palette)
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        return environment.get_template('report.html').render(
            report=self,
            pictures=pictures,
            layers={name: LAYERS[name] for name in shown},
            curves={title: curves(lines) for title, lines in self.losses.items() if lines},
            samples=[_drawn(figure) for figure in self.samples],
            legend=[*zip(self.classes, colours, strict=False), ('uncertain / ignored', colours[255])],
        )


def curves(lines: Sequence[Mapping[str, float]]) -> str:
    """Losses against iterations as an SVG drawing, one panel per loss that is not 0 everywhere."""
    # a loss that has not begun is 0
    names = list(dict.fromkeys(name for line in lines for name, value in line.items() if 'loss' in name and value))
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    with rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'report', 'font.size': 8}):
        figure = Figure(figsize=(3 * columns, 1.9 * rows), layout='constrained')
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, name in zip(panels, names, strict=False):
            known = [line for line in lines if name in line]
            panel.plot([line['iter'] for line in known], [line[name] for line in known], linewidth=1)
            panel.set_title(name, fontsize=8)
            panel.grid(alpha=0.3)
        for panel in panels[len(names) :]:
            panel.set_axis_off()
        with io.StringIO() as text:
            figure.savefig(text, format='svg', metadata={'Date': None})
            drawing = text.getvalue()
    return drawing[drawing.index('<svg') :]


def _drawn(figure: Figure) -> str:
    """A figure as a ``data:`` address."""
    figure.set_dpi(70)
    figure.canvas.draw()
    return _encoded(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert('RGB'), 'WEBP', quality=70)


def _heat(cam: np.ndarray) -> Image.Image:
    """The strongest activation over the classes, transparent where there is none."""
    strongest = np.clip(cam.max(axis=0), 0, 1)
    colours = colormaps['turbo'](strongest)
    colours[..., 3] = 0.75 * np.sqrt(strongest)
    return Image.fromarray(np.round(255 * colours).astype(np.uint8), 'RGBA')


def _coloured(mask: np.ndarray, palette: Sequence[Sequence[int]]) -> Image.Image:
    """The mask in colours, background transparent."""
    picture = Image.fromarray(mask.astype(np.uint8), 'P')
    picture.putpalette(np.array(voc_palette(256, palette), np.uint8).tobytes())
    picture.info['transparency'] = 0
    return picture


def _reduced(picture: Image.Image, side: int) -> Image.Image:
    """The picture with no side longer than ``side``; ids of a mask stay ids."""
    scale = min(1, side / max(picture.size))
    size = [max(1, round(scale * one)) for one in picture.size]
    reduced = picture.resize(size, Image.Resampling.NEAREST if picture.mode == 'P' else Image.Resampling.BILINEAR)
    reduced.info = dict(picture.info)
    return reduced


_FORMATS = {'photo': ('JPEG', dict(quality=80)), 'cam': ('WEBP', dict(quality=60))}
_MASK = 'PNG', dict(optimize=True)


def _address(picture: Image.Image, side: int, layer: str) -> str:
    """A layer as the text of a ``data:`` address."""
    kind, options = _FORMATS.get(layer, _MASK)
    return _encoded(_reduced(picture, side), kind, **options)


def _encoded(picture: Image.Image, kind: str, **options: object) -> str:
    """A picture as the text of a ``data:`` address."""
    with io.BytesIO() as data:
        picture.save(data, kind, **options)
        return f'data:image/{kind.lower()};base64,{base64.b64encode(data.getvalue()).decode()}'
