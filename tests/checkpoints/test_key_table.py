import pytest
import torch

from mmseg_wsss.checkpoints.key_table import Constant, KeyTable, names, renamed

TABLE = KeyTable(
    layout='the toy',
    names=names(
        """
        tok                cls
        blocks.*.qkv.      layers.*.in.
        blocks.*.scale     layers.*.gamma
        proj               proj.weight
        """,
        theirs='enc.',
        ours='backbone.',
    ),
    transposed=frozenset(['enc.proj']),
    optional=frozenset(['enc.blocks.*.scale']),
    only_theirs={
        'enc.old': Constant(0.0, (7, 'backbone.layers.0.in.bias'), unused=True),
        'enc.gain': Constant(1.0, ('backbone.proj.weight', 1)),
    },
    only_ours={
        'backbone.bias': Constant(0.0, ('enc.proj',)),
        'backbone.steps': Constant(3, unused=True),
    },
)


def theirs():
    return {
        'enc.tok': torch.randn(1, 2, 4),
        'enc.blocks.0.qkv.weight': torch.randn(12, 4),
        'enc.blocks.0.qkv.bias': torch.randn(12),
        'enc.blocks.1.qkv.weight': torch.randn(12, 4),
        'enc.blocks.1.qkv.bias': torch.randn(12),
        'enc.proj': torch.randn(4, 5),
        'enc.old': torch.randn(9, 4),
        'enc.gain': torch.ones(5, 1),
    }


def test_both_directions():
    state = theirs()
    ours = TABLE.to_ours(state)
    blocks = {f'layers.{index}.in.{part}' for index in range(2) for part in ('weight', 'bias')}
    assert ours.keys() == {f'backbone.{key}' for key in {'cls', 'proj.weight', 'bias', 'steps'} | blocks}
    assert torch.equal(ours['backbone.layers.1.in.weight'], state['enc.blocks.1.qkv.weight'])
    assert torch.equal(ours['backbone.proj.weight'], state['enc.proj'].T)
    assert torch.equal(ours['backbone.bias'], torch.zeros(4))
    assert ours['backbone.steps'].dtype == torch.int64
    assert ours['backbone.steps'].item() == 3
    back = TABLE.to_theirs(ours)
    assert back.keys() == state.keys()
    assert torch.equal(back['enc.old'], torch.zeros(7, 12)), 'unused: lost on the way, and made anew'
    assert all(torch.equal(back[key], state[key]) for key in state if key != 'enc.old')


def test_prefix_of_data_parallel_and_optional_tensors():
    state = {f'module.{key}': value for key, value in theirs().items()}
    state['module.enc.blocks.1.scale'] = torch.full((4,), 0.5)
    ours = TABLE.to_ours(state)
    assert torch.equal(ours['backbone.layers.1.gamma'], torch.full((4,), 0.5))
    assert 'backbone.layers.0.gamma' not in ours


def test_all_that_is_wrong_is_named_at_once():
    state = theirs()
    del state['enc.blocks.0.qkv.weight'], state['enc.tok']
    state |= {'enc.blocks.1.scale': torch.zeros(3), 'enc.blocks.1.odd': torch.zeros(1), 'head': torch.zeros(1)}
    state['enc.gain'] = torch.full((5, 1), 0.9)
    with pytest.raises(ValueError, match='not the weights of the toy under their names') as error:
        TABLE.to_ours(state)
    assert str(error.value).splitlines()[1:] == [
        '  2 missing: enc.tok; enc.blocks.0.qkv.weight',
        '  2 unknown: enc.blocks.1.odd; head',
        '  1 of a value that ours cannot have: enc.gain is not 1.0 everywhere',
    ]


def test_renamed():
    table = names('blocks.*.norm.  layers.*.ln.')
    assert renamed('blocks.12.norm.bias', table) == 'layers.12.ln.bias'
    assert renamed('blocks.12.other.0.bias', table) == 'blocks.12.other.0.bias', 'not in the table'
    assert renamed('layers.12.ln.bias', table) == 'layers.12.ln.bias', 'has our name already'


def test_what_the_published_network_cannot_have_is_refused_on_the_way_back():
    ours = TABLE.to_ours(theirs())
    ours['backbone.steps'] += 100  # counts, no part of the network
    TABLE.to_theirs(ours)
    ours['backbone.bias'][2] = 0.3
    with pytest.raises(ValueError, match=r'the published network cannot have: backbone.bias is not 0.0 everywhere'):
        TABLE.to_theirs(ours)
