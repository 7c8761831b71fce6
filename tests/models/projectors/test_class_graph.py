import pytest
import torch
import torch.nn.functional as F
from published import published_weights

from mmseg_wsss.checkpoints import MORE
from mmseg_wsss.models import ClassGraph


def published_graph() -> ClassGraph:
    """The recorded graph of 6 classes with 12 channels; the page of the recordings says how its weights are drawn."""
    weights = published_weights('more_graph')
    for key, value in weights.items():
        factor = 15 if 'proj.weight' in key else 10 if 'fc1' in key or 'linear' in key else 1
        value *= factor
    names = {theirs.removeprefix('graph_layer.'): ours.removeprefix('graph.') for theirs, ours in MORE.names.items()}
    graph = ClassGraph(num_classes=6, in_channels=12)
    graph.load_state_dict({names[key]: value for key, value in weights.items() if '_fc1' not in key})
    return graph


def test_recorded_output_and_gradient(golden):
    g, graph = golden('more_graph'), published_graph()
    tokens, patches = g['class_tokens'].requires_grad_(), g['patch_tokens'].requires_grad_()
    out = graph(tokens, patches.mT.unflatten(-1, (3, 3)))
    out.backward(g['upstream'])
    for found, recorded in ((out, g['out']), (tokens.grad, g['grad_class_tokens'])):
        assert (found - recorded).abs().max() <= 1e-3 * recorded.abs().max()
    assert patches.grad is None, 'patch tokens do not learn from it'


def test_against_loops():
    graph, tokens, patches = ClassGraph(num_classes=5, in_channels=4), torch.randn(1, 5, 4), torch.randn(1, 4, 1, 2)
    torch.nn.init.normal_(graph.norm.weight)
    candidates = torch.cat((tokens[0], patches[0].flatten(1).T))
    expected = []
    for token in tokens[0]:
        head = graph.head_proj(token)
        tails = [graph.tail_proj(one) for one in candidates]
        scores = torch.stack([head @ tail for tail in tails]) / 4**0.5
        best = scores.argsort(descending=True)[:2]
        share = scores[best].softmax(0)
        gates = [((1 - p) * head + p * tails[k] + head).tanh() for p, k in zip(share, best.tolist(), strict=True)]
        weight = torch.stack([tails[k].sum() * gate.sum() for gate, k in zip(gates, best.tolist(), strict=True)])
        received = sum(a * tails[k] for a, k in zip(weight.softmax(0), best.tolist(), strict=True))
        first = F.leaky_relu(graph.linear1(0.1 * (head + received) + token), 0.01)
        second = F.leaky_relu(graph.linear2(0.1 * head * received + token), 0.01)
        expected.append(F.layer_norm(first + second, (4,), graph.norm.weight, graph.norm.bias, 1e-5))
    torch.testing.assert_close(graph(tokens, patches)[0], torch.stack(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('classes', 'neighbours'), [(1, 1), (2, 1), (3, 1), (6, 3), (20, 10)])
def test_half_as_many_neighbours_as_classes_but_one_at_least(classes, neighbours):
    graph = ClassGraph(num_classes=classes, in_channels=4)
    assert graph.num_neighbours == neighbours
    assert graph(torch.randn(2, classes, 4), torch.randn(2, 4, 1, 1)).isfinite().all()


def test_bfloat16_value_and_gradient_are_finite():
    graph = ClassGraph(num_classes=3, in_channels=8)
    tokens, features = torch.randn(1, 3, 8, requires_grad=True), torch.randn(1, 8, 2, 2)
    exact = graph(tokens, features)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = graph(tokens, features)
    out.sum().backward()
    assert tokens.grad.isfinite().all()
    assert all(one.grad.isfinite().all() for one in graph.parameters())
    torch.testing.assert_close(out.float(), exact, rtol=0, atol=0.2)
