"""An app in the browser for a trained network: ``python tools/app.py WORK_DIR`` or ``mmseg-wsss app WORK_DIR``.

- **Photograph**: drop one, tick its tags: CAM, pseudo-label with a slider for its threshold, prediction.
- **Run**: images of the test set, worst first, by class, with the layers that are switched on.
- **Tags**: image-level labels of the training images that the classifier doubts; correct them, save the tag file.

WORK_DIR is that of ``tools/train.py`` or of ``tools/run_two_stage.py``. The app is for this machine alone (127.0.0.1)
and reads the folders of the config and WORK_DIR; what is dropped stays in memory or in a temporary folder.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    add = parser.add_argument
    add('work_dir', type=Path, metavar='WORK_DIR', help='of a training, or of both stages')
    add('--num', type=int, default=60, help='images of the test set, spread evenly (default: 60)')
    add('--tags-out', type=Path, metavar='FILE', help='corrected tags (default: WORK_DIR/corrected_tags.csv)')
    add('--host', default='127.0.0.1', help='address to listen on (default: 127.0.0.1, this machine alone)')
    add('--port', type=int, default=7860, help='default: 7860')
    args = parser.parse_args(argv)
    if not args.work_dir.is_dir():
        parser.error(f'there is no folder {args.work_dir}')
    if args.num < 1:
        parser.error('--num must be at least 1')
    args.tags_out = args.tags_out or args.work_dir / 'corrected_tags.csv'
    if args.tags_out.suffix != '.csv':
        parser.error(f'--tags-out must end in .csv, got {args.tags_out}')
    return args


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS

from mmseg_wsss.apis import predict
from mmseg_wsss.apis.run_folder import CAMPainter, painters_of, pictures, stages_of, worst_first
from mmseg_wsss.apis.tag_doubts import Doubt, doubts, tag_scores, write_tags
from mmseg_wsss.datasets.transforms.load_image import read_image
from mmseg_wsss.fileio import unwritable
from mmseg_wsss.visualization import LAYERS, Picture

SIDE = 512
EVERY_CLASS = 'every class'
OUTPUT = dict(format='png', interactive=False, buttons=['download', 'fullscreen'])  # not the one that uploads to a hub


class Looked(NamedTuple):
    """What the networks said of a photograph: CAMs (C, H, W) in [0, 1], segmentation ids (H, W)."""

    photo: np.ndarray
    cam: np.ndarray | None
    prediction: np.ndarray


class App:
    """What the app does, without its looks."""

    def __init__(self, args: argparse.Namespace) -> None:
        runs = [run for run in stages_of(args.work_dir).values() if run.has_weights]
        if not runs:
            raise ValueError(f'{args.work_dir} has no last_checkpoint: the training has not come that far')
        with_cams = next((run for run in runs if run.has_cams), None)
        self.last, self.with_cams, self.tags_out = runs[-1], with_cams, args.tags_out
        meta = self.last.network.dataset_meta
        self.classes, self.palette = tuple(meta['classes'][1:]), meta['palette']
        painters = painters_of(runs)
        self.threshold = next((one.threshold for one in painters if isinstance(one, CAMPainter)), 0.5)
        self.pictures = worst_first(pictures(painters, args.num))
        self.looked_at: list[tuple[str, np.ndarray, np.ndarray]] = []

    def look(self, photo: np.ndarray | None) -> Looked | None:
        """Both networks on a photograph (H, W, 3) RGB."""
        if photo is None:
            return None
        image = np.ascontiguousarray(photo[..., ::-1])  # RGB to BGR
        prediction = next(predict(self.last.network, image))
        cam = None
        if self.with_cams:
            of_cams = prediction if self.with_cams is self.last else next(predict(self.with_cams.network, image))
            cam = next(iter(of_cams.cams.values()))
        return Looked(photo, cam, prediction.ids)

    def show(self, looked: Looked | None, tags: Sequence[str], threshold: float) -> tuple[np.ndarray | None, ...]:
        """CAM, pseudo-label and prediction over the photograph; without tags all classes compete."""
        if looked is None:
            return None, None, None
        picture = Picture(photo=looked.photo, prediction=looked.prediction)
        if looked.cam is not None:
            kept = np.array([not tags or name in tags for name in self.classes])
            picture.cam = looked.cam * kept[:, None, None]
            picture.label = np.where(picture.cam.max(axis=0) > threshold, picture.cam.argmax(axis=0) + 1, 0)
        return tuple(picture.composed(['photo', name], self.palette, SIDE) for name in ('cam', 'label', 'prediction'))

    def gallery(self, name: str, layers: Sequence[str]) -> list[tuple[np.ndarray, str]]:
        """Pictures of the run with a class, its layers on top of each other, and their captions."""
        names = [layer for layer, title in LAYERS.items() if title in layers]
        shown = [one for one in self.pictures if name == EVERY_CLASS or name in self.of(one)]
        return [(one.composed(names, self.palette, 320), caption(one)) for one in shown]

    def of(self, picture: Picture) -> list[str]:
        """The classes of a picture: of its ground truth, else its tags."""
        if picture.truth is None:
            return [*picture.tags]
        return [self.classes[i - 1] for i in np.unique(picture.truth) if 0 < i <= len(self.classes)]

    @cached_property
    def training_images(self) -> BaseDataset:
        """The training images with their tags, as the test shows images to the network."""
        test = self.with_cams.cfg.test_dataloader.dataset
        return DATASETS.build(dict(self.with_cams.cfg.train_dataloader.dataset, pipeline=test.pipeline, test_mode=True))

    def suspicious(self, progress=iter) -> list[Doubt]:
        """Look at all training images, once."""
        if not self.looked_at:
            scores = tag_scores(self.with_cams.network, self.training_images)
            self.looked_at = [*progress(scores, total=len(self.training_images))]
        return doubts(self.looked_at, self.classes)

    def save(self, rows: Sequence[Sequence]) -> str:
        """Write all tags with the corrections of these rows (image, class, tagged, score)."""
        tags = {
            image: [name for name, one in zip(self.classes, known, strict=True) if one]
            for image, known, _ in self.looked_at
        }
        changed = 0
        for image, name, tagged, *_ in rows:
            if image in tags and bool(tagged) != (name in tags[image]):  # a row that was added by hand names none
                changed += 1
                tags[image] = [one for one in self.classes if (bool(tagged) if one == name else one in tags[image])]
        write_tags(self.tags_out, tags)
        return f'{self.tags_out}: {len(tags)} images, {changed} tags changed'

    def photo_of(self, image: str) -> np.ndarray:
        """A training image, RGB; only those of the data set are read."""
        if image not in {name for name, *_ in self.looked_at}:
            raise ValueError(f'{image} is no image of the training set')
        root = self.training_images.data_prefix['img_path']
        return np.ascontiguousarray(read_image(Path(root) / image)[..., ::-1])


def caption(picture: Picture) -> str:
    """IoU and name."""
    return picture.name if picture.iou is None else f'{picture.iou:.1f}  {picture.name}'


def build(app: App):
    """The page, of Gradio's components."""
    import gradio as gr

    with gr.Blocks(title='mmseg_wsss', analytics_enabled=False) as page:
        with gr.Tab('Photograph'):
            looked = gr.State()
            with gr.Row():
                photo = gr.Image(type='numpy', image_mode='RGB', sources=['upload', 'clipboard'], label='photograph')
                with gr.Column():
                    tags = gr.CheckboxGroup([*app.classes], label='tags', info='none: all classes compete')
                    threshold = gr.Slider(0, 0.99, app.threshold, step=0.01, label='background threshold')
            with gr.Row():
                drawn = [gr.Image(label=LAYERS[name], **OUTPUT) for name in ('cam', 'label', 'prediction')]
            photo.change(app.look, photo, looked).then(app.show, [looked, tags, threshold], drawn)
            gr.on([tags.change, threshold.input], app.show, [looked, tags, threshold], drawn, show_progress='hidden')
        with gr.Tab('Run'):
            with gr.Row():
                name = gr.Dropdown([EVERY_CLASS, *app.classes], value=EVERY_CLASS, label='class')
                layers = gr.CheckboxGroup(
                    [*LAYERS.values()], value=[LAYERS['photo'], LAYERS['prediction']], label='layers'
                )
            gallery = gr.Gallery(columns=4, object_fit='contain', height='auto', label='worst first, with IoU in %')
            gr.on([page.load, name.change, layers.change], app.gallery, [name, layers], gallery)
        if app.with_cams and app.with_cams.cfg.get('train_dataloader'):
            with gr.Tab('Tags'):
                tags_tab(gr, app)
    return page


def tags_tab(gr, app: App) -> None:
    """Doubtful tags in a table whose third column can be changed."""
    button = gr.Button('Look for suspicious tags')
    headers = ['image', 'class', 'tagged', 'score']
    kinds = ['str', 'str', 'bool', 'number']
    with gr.Row():
        table = gr.Dataframe(
            headers=headers,
            datatype=kinds,
            static_columns=[0, 1, 3],
            type='array',
            interactive=True,
            show_search='filter',
        )
        shown = gr.Image(label='the image of the chosen row', **OUTPUT)
    save, said = gr.Button(f'Save {app.tags_out.name}'), gr.Textbox(label='saved', interactive=False)

    def look(progress=gr.Progress()):  # noqa: B008  Gradio recognises it by its default
        found = app.suspicious(lambda one, total: progress.tqdm(one, total=total, desc='images'))
        return [[one.image, one.name, one.tagged, round(one.score, 3)] for one in found]

    def chosen(event: gr.SelectData):
        return app.photo_of(event.row_value[0])

    button.click(look, None, table)
    table.select(chosen, None, shown)
    save.click(app.save, table, said)


def main(argv: list[str] | None = None) -> None:
    """Serve the app until it is interrupted."""
    args = parse_args(argv)
    if problem := unwritable(args.tags_out, file=True):
        sys.exit(f'error: --tags-out {problem}')
    with tempfile.TemporaryDirectory() as folder:  # pictures on their way to the browser
        os.environ |= {'GRADIO_TEMP_DIR': folder, 'GRADIO_ANALYTICS_ENABLED': 'False'}
        try:
            import gradio as gr
        except ImportError:
            sys.exit("error: gradio is not installed: pip install 'mmseg_wsss[app]'")
        page = build(App(args))
        font = ['system-ui', 'sans-serif']  # none from the network
        theme = gr.themes.Default(font=font, font_mono=['monospace'])
        page.launch(
            server_name=args.host, server_port=args.port, share=False, allowed_paths=[], footer_links=[], theme=theme
        )


if __name__ == '__main__':
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
