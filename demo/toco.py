"""`make demo`: a plain classifier and ToCo, without and with dense energy, on the same images and tags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from demo import report, voc
from demo.derive import REAL_ITERS, schedule, tagged, weights_file, write
from mmseg_wsss.engine.tool_steps import ToolSteps

CONFIGS = Path(__file__).resolve().parents[1] / 'configs/toco'
DRAWN = {
    'classifier': CONFIGS / 'toco_vit-demo_drawn-scenes_cls-only.py',
    'toco': CONFIGS / 'toco_vit-demo_drawn-scenes.py',
    'toco_reg': CONFIGS / 'toco_vit-demo_drawn-scenes_reg.py',
}
REAL = {
    'classifier': CONFIGS / 'cls-only_deit-t16_1xb8-2.4k_voc12-animals-256x256.py',
    'toco': CONFIGS / 'toco_deit-t16_1xb8-2.4k_voc12-animals-256x256.py',
}
TITLES = {'classifier': 'the classifier alone (baseline)', 'toco': 'ToCo', 'toco_reg': 'ToCo with dense energy'}


@dataclass(frozen=True)
class Demo:
    """One run: its folder, the configs of the methods by name, the seed of all trainings."""

    out: Path
    configs: dict[str, Path]
    seed: int = 0

    @classmethod
    def drawn(cls, out: Path, iters: int | None, *, seed: int = 0) -> Demo:
        """On the drawn scenes; ``iters`` None keeps the shipped number of iterations."""
        configs = {method: write(out / f'{method}.py', base, schedule(base, iters)) for method, base in DRAWN.items()}
        return cls(out, configs, seed)

    @classmethod
    def real(cls, out: Path, data: str, weights: str | None, iters: int | None, *, seed: int = 0) -> Demo:
        """On real images.

        Args:
            out: folder of the run.
            data: folder in VOC layout.
            weights: file or URL of a pretrained ViT-Tiny/16; None for DeiT-Tiny.
            iters: training iterations; None for ``REAL_ITERS``.
            seed: of all trainings.

        Raises:
            DataError: the folder or the file lacks something.
        """
        layout, weights = voc.find(data), weights_file(weights)
        count = len(layout.classes)
        configs = {}
        for method, base in REAL.items():
            values = schedule(base, iters or REAL_ITERS)
            heads = ('cam_head', 'aux_cam_head')
            values['model'] |= {
                **{head: {'num_classes': count} for head in heads},
                'decode_head': {'num_classes': count + 1},
            }
            if weights:
                values['model']['backbone'] = {'init_cfg': {'checkpoint': weights}}
            configs[method] = write(out / f'{method}.py', base, values | tagged(layout))
        return cls(out, configs, seed)

    def plan(self, tools: ToolSteps) -> None:
        """Training and tests of every method, and the pictures of ToCo."""
        for method, config in self.configs.items():
            about, folder = TITLES[method], self.out / method
            training = tools.train(about, config, folder, seed=self.seed)
            tools.test(about, config, training)
            if method != 'classifier':
                tools.test(about, config, training, tta=True, crf=True)
            if method == 'toco':
                page = self.out / 'page.png'
                tools.add(
                    'analysis_tools/picture_page.py',
                    *(config, training.results[0], '--out', page),
                    title='draw the page of pictures',
                    folder=folder,
                    name='page',
                    configs=(config,),
                    needs=(training,),
                    results=(page,),
                )

    def report(self, seconds: float) -> str:
        """Write the table of complete steps; returns its text."""
        return report.write(self.out, self.configs, seed=self.seed, seconds=seconds)
