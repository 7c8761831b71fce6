"""Operations of a ToCo iteration, counted on fake tensors, against the formula of a plain ViT; time made of them."""

import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope

sys.path.insert(0, str(Path(__file__).parents[1] / 'benchmarks'))

import scaling_table
import step_flops
from attention_flops import flop_counter

SIDE, CHANNELS, BLOCKS = 128, 384, 12


def encoder_operations(side: int) -> int:
    """One image through ViT-S/16: patches, four products of a block, attention; two operations per multiplication."""
    patches = (side // 16) ** 2
    tokens = patches + 1
    block = tokens * 12 * CHANNELS**2 + 2 * tokens**2 * CHANNELS
    return 2 * (patches * 3 * 16**2 * CHANNELS + BLOCKS * block)


@pytest.fixture(scope='module')
def counts():
    init_default_scope('mmseg')
    cfg = step_flops.model_cfg('ViT-S', SIDE, chunks=False)
    cfg.loss_reg.scale_factor = 0.25
    return step_flops.operations(step_flops.Step(cfg, images=2, amp=False))


def test_encoder(counts):
    with_gradient = 2 * encoder_operations(SIDE) + 8 * encoder_operations(96)
    assert counts['encoder'] == with_gradient
    # the mirror image of scale 1, whose pass is the main forward's, and both of the other scales
    cams = encoder_operations(SIDE) + 2 * encoder_operations(SIDE // 2) + 2 * encoder_operations(3 * SIDE // 2)
    assert counts['encoder, CAM'] == cams


def test_backward_costs_twice_the_forward_pass_with_gradient(counts):
    forward = counts['encoder'] + counts['heads']
    assert counts['backward'] == pytest.approx(2 * forward, rel=0.1)
    assert counts['heads'] > 0


def test_dense_energy(counts):
    pixels = (SIDE // 4) ** 2
    width = counts['dense energy'] / pixels**2 / 2
    assert 21 + 5 < width < 200, 'products of queries and keys, and with the values of 21 classes, for every pair'


def test_attention_of_a_cpu_is_counted():
    query = torch.randn(1, 2, 100, 16, requires_grad=True)
    with flop_counter() as counter:
        torch.nn.functional.scaled_dot_product_attention(query, query, query).sum().backward()
    forward = 2 * 2 * 2 * 100 * 100 * 16
    assert counter.get_total_flops() == forward * 3.5, 'backward repeats a product and has four'


def test_table():
    memory = {kind: dict(each=2**20, fixed=3 * 2**20) for kind in ('float32', 'bfloat16', 'bfloat16, chunks')}
    record = dict(arch='ViT-S', size=448, parameters=10**8, trained=5 * 10**7, memory=memory)
    record['operations'] = {part: 10**9 * (number + 1) for number, part in enumerate(step_flops.PARTS)}
    line = step_flops.to_table([record]).splitlines()[-1]
    assert line == '| ViT-S, 448 | 100 | 0.8 | 1 | 2 | 3 | 4 | 5 | 15 | 1 + 3 | 1 + 3 | 1 + 3 |'


def test_time_on_several_gpus():
    """Ten million operations a second each; gradients of 8 MB over a link of 1 MB/s inside, 0.1 MB/s between."""
    record = dict(operations={'encoder': 10**7, 'backward': 2 * 10**7}, trained=10**6)
    options = ['x.json', '--peak', '2e-5', '--fraction', '0.5', '--inside', '0.001', '--between', '0.0001']
    args = scaling_table.parse_args([*options, '--per-machine', '2'])
    assert scaling_table.step_seconds(record, 1, args) == pytest.approx(3)
    assert scaling_table.step_seconds(record, 2, args) == pytest.approx(3 + (4 - 2)), '2 s of 4 are behind backward'
    assert scaling_table.step_seconds(record, 4, args) == pytest.approx(3 + (60 - 2))
    args.images = 100
    assert scaling_table.step_seconds(record, 4, args) == pytest.approx(300), 'all of it is hidden'
