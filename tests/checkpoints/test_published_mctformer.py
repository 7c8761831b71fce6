"""Published weights of MCTformer+'s first stage, converted and back (recorded outputs: test_mctformer_golden.py)."""

import pytest
import torch
from published import published_weights

from mmseg_wsss.checkpoints import LAYOUTS, MCTFORMER_PLUS


def test_there_and_back():
    state = published_weights('mct_plus_small')
    ours = MCTFORMER_PLUS.to_ours({f'module.{key}': value for key, value in state.items()})
    assert torch.equal(ours['backbone.pos_embed'][:, :6], state['pos_embed_cls'])
    assert torch.equal(ours['backbone.pos_embed'][:, 6:], state['pos_embed_pat'])
    assert torch.equal(ours['cam_head.classifier.weight'], state['head.weight'])
    back = MCTFORMER_PLUS.to_theirs({f'module.{key}': value for key, value in ours.items()})
    assert back.keys() == state.keys()
    unused = {'norm.weight': 1.0, 'norm.bias': 0.0, 'pos_embed': 0.0}
    for key, value in back.items():
        assert torch.equal(value, torch.full_like(state[key], unused[key]) if key in unused else state[key]), key
    assert LAYOUTS['mctformer-plus'] is MCTFORMER_PLUS


def test_missing_parts_are_named():
    state = published_weights('mct_plus_small')
    ours = MCTFORMER_PLUS.to_ours(state)
    del state['pos_embed_pat']
    with pytest.raises(
        ValueError,
        match=r"^not the weights of published MCTformer\+'s first stage under their .*\n  1 missing: pos_embed_pat$",
    ):
        MCTFORMER_PLUS.to_ours(state)
    for absent in ('backbone.pos_embed', 'backbone.cls_token'):
        with pytest.raises(ValueError, match=r'under our names:\n  \d missing: .*backbone\.'):
            MCTFORMER_PLUS.to_theirs({key: value for key, value in ours.items() if key != absent})
