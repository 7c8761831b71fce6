"""Random draws of published MoRe, as keys of ours."""

import torch
from torch import Tensor


def keys_of(permutations: Tensor, label: Tensor) -> Tensor:
    """Keys (2, B, h - 6, w - 6) with which ``choose_uncertain`` draws what the recorded permutations (B, n) drew.

    A permutation, padded with -1, belongs to the candidates where there are more than 8 of them, or else to the tokens
    of a class, or to all where there are too few of these.
    """
    level = torch.where(label == 255, 1, torch.where(label > 0, 2, 0))
    inner = level[:, 3:-3, 3:-3]
    keys = torch.zeros(2, *inner.shape)
    for image, order in enumerate(permutations.long().tolist()):
        pools = {'candidates': [], 'class': [], 'all': []}
        for row in range(inner.shape[1]):
            for column in range(inner.shape[2]):
                near = level[image, row : row + 6, column : column + 6].float().mean()
                own = inner[image, row, column]
                pools['all'].append((row, column))
                if own == 2:
                    pools['class'].append((row, column))
                if own == 1 and near >= 1.2:
                    pools['candidates'].append((row, column))
        count = len(pools['candidates'])
        enough = len(pools['class']) >= (8 - count) // 4
        draw, pool = (0, 'candidates') if count > 8 else (1, 'class' if enough else 'all')
        order = [one for one in order if one >= 0]
        assert len(order) == len(pools[pool])
        for rank, one in enumerate(order):
            keys[draw, image][pools[pool][one]] = 1 - (rank + 1) / 1000
    return keys
