"""`make demo METHOD=weaktr`: the whole of WeakTr on the demo's scenes, as tools/run_weaktr.py does it."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config

from demo import voc
from demo.derive import REAL_ITERS, schedule, tagged, weights_file, write
from mmseg_wsss.engine.steps import Step
from mmseg_wsss.engine.tool_steps import ToolSteps, metrics_of
from mmseg_wsss.engine.weaktr_run import WeakTrRun, table
from mmseg_wsss.fileio import whole_file

CONFIGS = Path(__file__).resolve().parents[1] / 'configs/weaktr'
DRAWN = {
    'cam': CONFIGS / 'weaktr-cam_vit-demo_drawn-scenes.py',
    'seg': CONFIGS / 'weaktr-seg_vit-demo_drawn-scenes.py',
}
REAL = {
    'cam': CONFIGS / 'weaktr-cam_deit-t16_1xb32-588_voc12-animals-224x224.py',
    'seg': CONFIGS / 'weaktr-seg_deit-t16_1xb8-1.5k_voc12-animals-256x256.py',
}
COARSE = ('--cfg-options', 'model.cam_head.cross_attention=False', 'model.cam_head.patch_attention=False')
SWEPT = 100  # training images whose masks choose the background threshold


@dataclass(frozen=True)
class Demo:
    """One run of both stages; ``tests`` is filled by :meth:`plan`."""

    run: WeakTrRun
    tests: dict[str, Step] = field(default_factory=dict)

    @classmethod
    def drawn(cls, out: Path, iters: int | None, *, seed: int = 0) -> Demo:
        """On the drawn scenes; ``iters`` None keeps the shipped numbers of iterations of both stages."""
        configs = {stage: write(out / f'{stage}.py', base, schedule(base, iters)) for stage, base in DRAWN.items()}
        dataset = Config.fromfile(configs['seg']).train_dataloader.dataset
        names = (Path(dataset.data_root) / dataset.ann_file).read_text().split()[:SWEPT]
        with whole_file(out / 'sweep.txt') as temporary:
            temporary.write_text('\n'.join(names) + '\n')
        return cls(
            WeakTrRun(
                cam_config=configs['cam'],
                seg_config=configs['seg'],
                work_dir=out,
                seed=seed,
                sweep_split=str(out / 'sweep.txt'),
            )
        )

    @classmethod
    def real(cls, out: Path, data: str, weights: str | None, iters: int | None, *, seed: int = 0) -> Demo:
        """On real images, with the threshold of the first stage's config: training images may have no masks.

        Args:
            out: folder of the run.
            data: folder in VOC layout.
            weights: file or URL of a pretrained ViT-Tiny/16; None for DeiT-Tiny.
            iters: iterations of each stage; None for ``REAL_ITERS``.
            seed: of both trainings.

        Raises:
            DataError: the folder or the file lacks something.
        """
        layout, weights = voc.find(data), weights_file(weights)
        count, images = len(layout.classes), tagged(layout)
        heads = {
            'cam': {'backbone': {'num_cls_tokens': count}, 'cam_head': {'num_classes': count}},
            'seg': {'backbone': {}, 'decode_head': {'num_classes': count + 1}},
        }
        configs = {}
        for stage, base in REAL.items():
            values = schedule(base, iters or REAL_ITERS) | {'model': heads[stage]} | images
            if weights:
                values['model']['backbone']['init_cfg'] = {'checkpoint': weights}
            if stage == 'seg':
                images_only = images['train_dataloader']['dataset']
                values['train_dataloader'] = {
                    'dataset': {
                        **{key: images_only[key] for key in ('data_root', 'classes', 'ann_file')},
                        'data_prefix': {'truth_path': None},
                    }
                }
            configs[stage] = write(out / f'{stage}.py', base, values)
        threshold = Config.fromfile(configs['cam']).model.threshold
        return cls(
            WeakTrRun(
                cam_config=configs['cam'], seg_config=configs['seg'], work_dir=out, seed=seed, threshold=threshold
            )
        )

    def plan(self, tools: ToolSteps) -> None:
        """Everything of the method, its CAMs without attention for comparison, and the pictures."""
        run = self.run
        self.tests.update(run.plan(tools))
        train_cam, train_seg = self.tests['cam'].needs[0], self.tests['seg'].needs[0]
        folder = train_cam.folder / 'coarse'
        about = 'the CAMs without attention'
        self.tests['coarse'] = tools.test(about, run.cam_config, train_cam, folder=folder, options=COARSE)
        page = run.work_dir / 'page.png'
        tools.add(
            'analysis_tools/weaktr_page.py',
            *(run.cam_config, train_cam.results[0], run.seg_config, train_seg.results[0]),
            *('--labels', run.labels, '--out', page),
            title='draw the page of pictures',
            folder=run.work_dir / 'seg',
            name='page',
            configs=(run.cam_config, run.seg_config),
            needs=(self.tests['labels'], train_seg),
            results=(page,),
        )

    def report(self, seconds: float) -> str:
        """Write the table of complete steps; returns its text."""
        run, coarse = self.run, metrics_of(self.tests['coarse'])
        cam, seg = Config.fromfile(run.cam_config), Config.fromfile(run.seg_config)
        dataset = cam.test_dataloader.dataset
        images = len((Path(dataset.data_root) / dataset.ann_file).read_text().split())
        text = f"""# WeakTr

{table(self.tests)}

CAM without attention (coarse), best threshold: {coarse['cam/best_mIoU']:.1f} (at {coarse['cam/best_threshold']:.2f}).

{images} val images, {len(dataset.classes)} classes and background; seed {run.seed}.
First stage {cam.train_cfg.max_iters} iterations of {cam.train_dataloader.batch_size} images, second stage
{seg.train_cfg.max_iters} of {seg.train_dataloader.batch_size}. CAMs and pseudo-labels know the image's tags, the
segmentation does not.
{seconds / 60:.1f} minutes in all on {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}.

![image, CAM, pseudo-label, prediction, truth](page.png)
"""
        with whole_file(run.work_dir / 'README.md') as temporary:
            temporary.write_text(text)
        return text
