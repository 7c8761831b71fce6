"""What segmentors with several losses share."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class StartedLosses:
    """Mixin of a segmentor whose losses begin at different iterations.

    The iteration counter is saved with the weights, so a resumed training goes on with the losses it had, and one that
    starts from a finished checkpoint (``load_from``) is past every start.

    Attributes:
        starts: first iteration, counted from 0, in which each loss counts.
        iteration: number of training steps made.
    """

    starts: dict[str, int]
    iteration: int

    def set_starts(self, starts: Mapping[str, int] | None, names: Sequence[str]) -> None:
        """Take the starts of a config; what it leaves out begins at 0.

        Raises:
            ValueError: a name is unknown or a start negative.
        """
        given = dict(starts or {})
        wrong = [f'{name}={start}' for name, start in given.items() if name not in names or start < 0]
        if wrong:
            raise ValueError(f'starts has {", ".join(wrong)}; it takes iterations from 0 for {", ".join(names)}')
        self.starts = {name: given.get(name, 0) for name in names}
        self.iteration = 0

    def has_begun(self, name: str) -> bool:
        """Whether a loss counts in this iteration."""
        return self.iteration >= self.starts[name]

    def get_extra_state(self) -> Tensor:
        """The iteration counter, as a tensor beside the parameters: mmengine broadcasts the whole state."""
        return torch.tensor(self.iteration, device=next(self.parameters()).device)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the iteration counter."""
        self.iteration = int(state)


def zero_gradient(modules: Sequence[nn.Module]) -> Tensor:
    """A loss of 0 that gives the parameters of modules whose own loss has not begun a gradient of 0 instead of none.

    The optimizer then counts these steps, as in trainings that multiply such a loss by 0: AdamW's first step after
    2,001 of them is 3.2 times as long as its first step ever, and weight decay acts from the beginning. Every process
    of a distributed training has the same gradients, whatever wraps the model.
    """
    return (
        sum(parameter.sum() for module in modules for parameter in module.parameters() if parameter.requires_grad) * 0
    )
