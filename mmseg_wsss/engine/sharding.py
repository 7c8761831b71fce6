"""Parameters, gradients and optimizer state divided over processes (FSDP), for encoders that one GPU does not hold."""

from mmengine._strategy import FSDPStrategy
from mmengine.registry import FUNCTIONS, STRATEGIES
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy


@FUNCTIONS.register_module()
def wrap_transformer_blocks(module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
    """``auto_wrap_policy``: every block of a ViT is gathered when it is called, the rest once for the whole step.

    The blocks alone, because the methods call ``backbone.tokens`` and use the weights of classifiers directly: FSDP
    gathers a module's weights only around its ``forward``.
    """
    return transformer_auto_wrap_policy(module, recurse, nonwrapped_numel, {TransformerEncoderLayer})


@STRATEGIES.register_module()
class ShardedStrategy(FSDPStrategy):
    """mmengine's ``FSDPStrategy``, which cannot resume with today's torch: its arguments came in another order."""

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Take this process's share of the optimizer state of a checkpoint."""
        share = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict
        )
        self.optim_wrapper.load_state_dict(share)
