"""Linear layers by oneDNN against PyTorch's own."""

import copy

import pytest
import torch
from mmcv.cnn.bricks.wrappers import Linear
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from mmseg_wsss.models import onednn_linear
from mmseg_wsss.models.onednn_linear import OneDNNLinear, use_onednn

pytestmark = pytest.mark.skipif(not onednn_linear._AVAILABLE, reason='PyTorch was built without oneDNN')


class Products(TorchDispatchMode):
    """Counts oneDNN's products, and those whose second factor has gaps."""

    count = gaps = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.mkldnn._linear_pointwise.default:
            self.count += 1
            self.gaps += not (args[1].is_contiguous() or args[1].mT.is_contiguous())
        return func(*args, **(kwargs or {}))


def pair(inputs=12, outputs=20, bias=True):
    """A plain layer and its copy with oneDNN."""
    plain = nn.Linear(inputs, outputs, bias)
    ours = copy.deepcopy(plain)
    use_onednn(ours)
    assert type(ours) is OneDNNLinear
    return plain, ours


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('shape', [(7, 12), (2, 9, 12), (2, 3, 4, 12)], ids=str)
@pytest.mark.parametrize('outputs', [1, 20])
def test_value_and_gradients_are_those_of_the_plain_layer(shape, outputs, bias):
    layers = pair(outputs=outputs, bias=bias)
    values = torch.randn(shape)
    towards = torch.randn(outputs, *shape[:-1]).movedim(0, -1)  # gradients may come with any strides
    results = []
    for layer, products in zip(layers, (0, 3), strict=True):
        x = values.clone().requires_grad_()
        with Products() as seen:
            y = layer(x)
            y.backward(towards)
        assert seen.count == products
        results.append([y, x.grad, *(parameter.grad for parameter in layer.parameters())])
    for plain, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
        assert ours.is_contiguous()


def test_gradients_that_nobody_wants_are_not_computed():
    _, ours = pair()
    with Products() as seen:
        ours(torch.randn(3, 12)).sum().backward()
    assert seen.count == 2, 'the output and the gradient of the weight'
    ours.requires_grad_(False)
    x = torch.randn(3, 12, requires_grad=True)
    with Products() as seen:
        ours(x).sum().backward()
    assert seen.count == 2, 'the output and the gradient of the input'
    with Products() as seen, torch.no_grad():
        assert not ours(x).requires_grad
    assert seen.count == 1


def test_slow_kernels_are_avoided():
    plain, ours = pair()
    x = torch.randn(5, 9, 12)[:, 2].requires_grad_()  # a class token among others: its rows are not neighbours
    with Products() as seen:
        ours(x).square().sum().backward()
    assert (seen.count, seen.gaps) == (3, 0)
    plain(x.detach()).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad)


def test_other_types_stay_with_pytorch():
    plain, ours = pair()
    with Products() as seen:
        x = torch.randn(3, 12)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            assert ours(x).dtype == torch.bfloat16
        with torch.backends.mkldnn.flags(enabled=False):
            torch.testing.assert_close(ours(x), plain(x), rtol=0, atol=0)
        assert ours(torch.randn(0, 12)).shape == (0, 20)
        assert ours(torch.randn(12)).shape == (20,)
        double = ours.double()
        assert torch.autograd.gradcheck(double, torch.randn(3, 12, dtype=torch.float64, requires_grad=True))
    assert seen.count == 0


def test_a_module_keeps_its_names_and_its_other_layers():
    class Own(nn.Linear):
        pass

    module = nn.Sequential(
        nn.Linear(4, 4), nn.ReLU(), nn.ModuleDict(dict(a=Linear(4, 4), b=Own(4, 4))), nn.Conv2d(1, 1, 1)
    )
    before = {key: value.clone() for key, value in module.state_dict().items()}
    use_onednn(module)
    assert [type(layer) for layer in (module[0], module[2]['a'], module[2]['b'])] == [OneDNNLinear, OneDNNLinear, Own]
    after = copy.deepcopy(module).state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_flops_are_counted():
    counts = []
    for layer in pair():
        with FlopCounterMode(display=False) as counter:
            layer(torch.randn(2, 5, 12, requires_grad=True)).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts == [3 * 2 * 10 * 12 * 20] * 2


def test_traced_modules_hold_no_operator_of_onednn():
    _, ours = pair()
    traced = torch.jit.trace(ours, torch.randn(2, 12))
    assert 'mkldnn' not in str(traced.inlined_graph)


def test_compiled_modules_are_pytorchs_in_one_graph():
    _, ours = pair()
    graphs = []

    def backend(graph, example_inputs):
        graphs.append(str(graph.graph))
        return graph.forward

    x = torch.randn(2, 12)
    torch.testing.assert_close(torch.compile(ours, backend=backend, fullgraph=True)(x), ours(x))
    assert len(graphs) == 1
    assert 'linear' in graphs[0]
    assert 'mkldnn' not in graphs[0]
