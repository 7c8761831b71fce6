import re

import pytest
import torch

from mmseg_wsss.checkpoints.key_table import KeyTable, rows

TABLE = KeyTable(
    'the toy',
    rows(
        """
        tok            cls          1,T,D
        b.*.qkv.weight l.*.in.w     3D,D
        b.*.scale      l.*.gamma    D      optional
        proj           proj.weight  D,E    transposed
        old            -            7,D    unused 0.0
        gain           -            E,1    1.0
        -              bias         D+1    0.0
        -              steps        ()     unused 3
        """,
        theirs='enc.',
        ours='backbone.',
    ),
)


def theirs():
    return {
        'enc.tok': torch.randn(1, 2, 4),
        'enc.b.0.qkv.weight': torch.randn(12, 4),
        'enc.b.1.qkv.weight': torch.randn(12, 4),
        'enc.proj': torch.randn(4, 5),
        'enc.old': torch.randn(9, 4),
        'enc.gain': torch.ones(5, 1),
    }


def test_both_directions():
    state = theirs()
    ours = TABLE.to_ours(state)
    assert ours.keys() == {f'backbone.{key}' for key in ('cls', 'l.0.in.w', 'l.1.in.w', 'proj.weight', 'bias', 'steps')}
    assert torch.equal(ours['backbone.l.1.in.w'], state['enc.b.1.qkv.weight'])
    assert torch.equal(ours['backbone.proj.weight'], state['enc.proj'].T)
    assert torch.equal(ours['backbone.bias'], torch.zeros(5))
    assert ours['backbone.steps'].dtype == torch.int64
    assert ours['backbone.steps'].item() == 3
    back = TABLE.to_theirs(ours)
    assert back.keys() == state.keys()
    assert torch.equal(back['enc.old'], torch.zeros(7, 4)), 'unused: lost on the way, and made anew'
    assert all(torch.equal(back[key], state[key]) for key in state if key != 'enc.old')


def test_prefix_of_data_parallel_and_optional_rows():
    state = {f'module.{key}': value for key, value in theirs().items()}
    state['module.enc.b.1.scale'] = torch.full((4,), 0.5)
    ours = TABLE.to_ours(state)
    assert torch.equal(ours['backbone.l.1.gamma'], torch.full((4,), 0.5))
    assert 'backbone.l.0.gamma' not in ours


def test_all_that_is_wrong_is_named_at_once():
    state = theirs()
    del state['enc.b.0.qkv.weight'], state['enc.tok']
    state |= {'enc.b.1.scale': torch.zeros(3), 'enc.b.1.odd': torch.zeros(1), 'head': torch.zeros(1)}
    state['enc.gain'] = torch.full((5, 1), 0.9)
    with pytest.raises(ValueError, match='not the weights of the toy under their names') as error:
        TABLE.to_ours(state)
    assert str(error.value).splitlines()[1:] == [
        '  2 missing: enc.tok; enc.b.0.qkv.weight',
        '  2 unknown: enc.b.1.odd; head',
        '  1 of a shape that does not fit the others: enc.b.1.scale: (3,), expected (D) with D = 4',
        '  1 of a value that ours cannot have: enc.gain is not 1.0 everywhere',
    ]


@pytest.mark.parametrize('shape', [(10, 4), (12,), (12, 4, 1)])
def test_shape_that_does_not_fit(shape):
    state = theirs() | {'enc.b.1.qkv.weight': torch.zeros(shape)}
    expected = f'enc.b.1.qkv.weight: {shape}, expected (3D,D) with D = 4'
    with pytest.raises(ValueError, match=re.escape(expected)):
        TABLE.to_ours(state)


def test_what_the_published_network_cannot_have_is_refused_on_the_way_back():
    ours = TABLE.to_ours(theirs())
    ours['backbone.steps'] += 100  # counts, no part of the network
    TABLE.to_theirs(ours)
    ours['backbone.bias'][2] = 0.3
    with pytest.raises(ValueError, match=r'the published network cannot have: backbone.bias is not 0.0 everywhere'):
        TABLE.to_theirs(ours)
