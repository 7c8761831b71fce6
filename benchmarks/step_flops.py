"""What a ToCo iteration costs per image with ViT-S, B and L: operations and memory, counted, on any machine.

    python benchmarks/step_flops.py --json benchmarks/results/step_flops.json

Nothing is computed and nothing timed: the step runs on fake tensors, which have sizes only. Counted are

- operations of matrix products, convolutions and attention (``torch.utils.flop_counter``); not those of normalisation,
  activation functions, resizing and PAR, whose time is memory traffic;
- bytes of tensors that are alive at the worst moment (``allocation_counter.py``), weights, optimizer state and the
  workspace of kernels left out, per image by the difference between four images and two. Kernels and their dtypes are
  those of PyTorch's CPU backend, with fused attention; the dense energy is the exact one that GPUs compute.
"""

import argparse
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from allocation_counter import AllocationCounter
from attention_flops import flop_counter
from machine import machine, new_parser, report
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from mmseg_wsss.models import ToCo
from mmseg_wsss.models.bilateral_sum import exact_bilateral_sum
from mmseg_wsss.structures import set_image_label

CONFIG = Path(__file__).resolve().parents[1] / 'configs/toco/toco_vit-b16-in21k_1xb4-20k_voc12aug-448x448.py'
ARCHS = {'ViT-S': ('deit-small', (9, 11)), 'ViT-B': ('base', (9, 11)), 'ViT-L': ('large', (19, 23))}
PARTS = ('encoder', 'encoder, CAM', 'dense energy', 'heads', 'backward')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = new_parser(__doc__)
    parser.add_argument('--archs', nargs='+', choices=ARCHS, default=list(ARCHS), help='default: all')
    parser.add_argument('--sizes', nargs='+', type=int, default=[448, 512], help='sides of the crop (default: 448 512)')
    return parser.parse_args(argv)


def model_cfg(arch: str, size: int, *, chunks: bool) -> Config:
    """ToCo with every loss; with ``chunks`` the encoder takes one image of the crop's size at a time."""
    name, blocks = ARCHS[arch]
    model = Config.fromfile(CONFIG).model
    model.data_preprocessor.size = (size, size)
    pixels = size * size if chunks else None
    model.backbone.update(arch=name, out_indices=blocks, pixels_per_pass=pixels, init_cfg=None)
    model.starts = {}
    return model


class Step:
    """One iteration of a model without weights on images without pixels.

    Args:
        cfg: config of the model.
        images: number of images.
        amp: bfloat16 autocast.
    """

    def __init__(self, cfg: Config, *, images: int, amp: bool) -> None:
        side = cfg.data_preprocessor.size[0]
        meta = dict(valid_box=(0, side, 0, side), ori_shape=(side, side), img_shape=(side, side))
        classes = cfg.num_classes
        self.samples = [set_image_label(SegDataSample(metainfo=meta), [1, 5], classes) for _ in range(images)]
        self.shape, self.amp = (images, 3, side, side), amp
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        with self.fake:
            self.model: ToCo = MODELS.build(cfg).train()
            self.model.loss_reg.on_cpu = partial(exact_bilateral_sum, half=True)  # as on a GPU

    def run(self, meter: FlopCounterMode | AllocationCounter, between: Callable[[], None] = lambda: None) -> None:
        """Forward, ``between``, backward; counted by the meter."""
        # mmseg's accuracy picks pixels by a mask, whose number no tensor without values knows
        with self.fake, patch('mmseg.models.decode_heads.decode_head.accuracy', lambda *_, **__: torch.zeros(1)):
            views = {name: torch.randn(self.shape) for name in ('img', 'global_view', 'local_view')}
            with meter:
                with torch.autocast('cpu', torch.bfloat16, enabled=self.amp):
                    losses = self.model.loss(views, self.samples)
                total = sum(value for name, value in losses.items() if 'loss' in name)
                between()
                total.backward()

    def state(self) -> dict[str, int]:
        """Numbers of parameters: all, those that are trained, those of the encoder."""
        parameters = list(self.model.parameters())
        return dict(
            parameters=sum(one.numel() for one in parameters),
            trained=sum(one.numel() for one in parameters if one.requires_grad),
            encoder=sum(one.numel() for one in self.model.backbone.parameters()),
        )


@contextmanager
def counted(owner: nn.Module, method: str, add: Callable[[int], None], counter: FlopCounterMode):
    """While the context lasts, ``add`` is told the operations of every call of the method."""
    original = getattr(owner, method)

    def call(*args, **kwargs):
        before = counter.get_total_flops()
        result = original(*args, **kwargs)
        add(counter.get_total_flops() - before)
        return result

    setattr(owner, method, call)
    yield
    delattr(owner, method)


def operations(step: Step) -> dict[str, int]:
    """Operations per image of the parts of an iteration."""
    counter = flop_counter()
    parts = dict.fromkeys(PARTS, 0)

    def encoder(count: int) -> None:
        parts['encoder' if torch.is_grad_enabled() else 'encoder, CAM'] += count

    def energy(count: int) -> None:
        parts['dense energy'] += count

    def forward_ends() -> None:
        parts['heads'] = counter.get_total_flops() - sum(parts.values())

    model = step.model
    with counted(model.backbone, 'tokens', encoder, counter), counted(model.loss_reg, 'forward', energy, counter):
        step.run(counter, forward_ends)
    parts['backward'] = counter.get_total_flops() - sum(parts.values())
    return {name: count // step.shape[0] for name, count in parts.items()}


def memory(cfg: Config, *, amp: bool) -> dict[str, int]:
    """Bytes of an image more, and of what does not depend on the number of images (gradients above all)."""
    peaks = []
    for images in (2, 4):
        counter = AllocationCounter()
        Step(cfg, images=images, amp=amp).run(counter)
        peaks.append(counter.peak)
    each = (peaks[1] - peaks[0]) // 2
    return dict(each=each, fixed=peaks[0] - 2 * each)


def measure(arch: str, size: int) -> dict:
    """All numbers of one encoder and crop."""
    whole, chunks = (model_cfg(arch, size, chunks=flag) for flag in (False, True))
    step = Step(whole, images=2, amp=False)
    return dict(
        arch=arch,
        size=size,
        **step.state(),
        operations=operations(step),
        memory={
            'float32': memory(whole, amp=False),
            'bfloat16': memory(whole, amp=True),
            'bfloat16, chunks': memory(chunks, amp=True),
        },
    )


def to_table(records: list[dict]) -> str:
    """Markdown: a line per encoder and crop."""
    kinds = list(records[0]['memory'])
    head = ['encoder, crop', 'parameters, M', 'state, GB', *(f'{part}, GFLOP' for part in PARTS), 'sum, GFLOP']
    head += [f'{kind}: MiB per image + fixed' for kind in kinds]
    lines = ['| ' + ' | '.join(head) + ' |', '|---' + '|--:' * (len(head) - 1) + '|']
    for record in records:
        counts = [record['operations'][part] / 1e9 for part in PARTS]
        state = 4 * record['parameters'] + 8 * record['trained']
        cells = [f'{record["arch"]}, {record["size"]}', f'{record["parameters"] / 1e6:.0f}', f'{state / 1e9:.1f}']
        cells += [f'{count:,.0f}' for count in (*counts, sum(counts))]
        for kind in kinds:
            cells.append(' + '.join(f'{record["memory"][kind][key] / 2**20:,.0f}' for key in ('each', 'fixed')))
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> None:
    """Count and print."""
    args = parse_args(argv)
    MMLogger.get_instance('step_flops', log_level='ERROR')
    init_default_scope('mmseg')
    records = [measure(arch, size) for arch in args.archs for size in args.sizes]
    report(to_table(records), dict(machine(torch.device('cpu')), counted=records), args.json)


if __name__ == '__main__':
    main()
