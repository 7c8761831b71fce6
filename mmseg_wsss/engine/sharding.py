"""Parameters, gradients and optimizer state sharded over processes (FSDP), for encoders too large for one GPU."""

from mmengine._strategy import FSDPStrategy
from mmengine.device import get_device
from mmengine.registry import FUNCTIONS, STRATEGIES
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy


@FUNCTIONS.register_module()
def wrap_transformer_blocks(module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
    """``auto_wrap_policy``: every block of a ViT is gathered when it is called, the rest once for the whole step.

    Only blocks are wrapped, because the methods call ``backbone.tokens`` and use the weights of classifiers directly,
    while FSDP gathers a module's weights only around its ``forward``.
    """
    return transformer_auto_wrap_policy(module, recurse, nonwrapped_numel, {TransformerEncoderLayer})


@STRATEGIES.register_module()
class ShardedStrategy(FSDPStrategy):
    """mmengine's ``FSDPStrategy`` with additions for training on GPUs, validation and resuming.

    Raises:
        RuntimeError: the run was started without a launcher.
        ValueError: the model predicts in sliding windows, or an ignored module does not exist (before training).
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        if not self.distributed:
            raise RuntimeError(
                'ShardedStrategy shards the model over processes, and this is a single process: start it with '
                'tools/dist_train.sh CONFIG N, where N is the number of GPUs'
            )

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Refuse a model whose processes would wait for each other in validation for ever."""
        model = super().build_model(model)
        if (getattr(model, 'test_cfg', None) or {}).get('mode') == 'slide':
            # every pass gathers the blocks' weights from all processes, so all must make the same number of passes
            raise ValueError(
                "model.test_cfg.mode='slide' would hang with ShardedStrategy: the number of windows depends on an "
                "image's size, and processes see different images. Set model.test_cfg.mode='whole' for training; "
                'tools/test.py, which does not shard, can slide'
            )
        return model

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        """Also move ignored parameters and buffers to the device: FSDP moves only what it wraps."""
        modules = dict(model.named_modules())
        for name in (self.model_wrapper or {}).get('ignored_modules', ()):
            if name not in modules:
                raise ValueError(f'strategy.model_wrapper.ignored_modules: {type(model).__name__} has no {name!r}')
            modules[name].to(get_device())
        return super()._wrap_model(model)

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Load this process's share of the optimizer state; mmengine passes torch's arguments in their old order."""
        share = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict
        )
        self.optim_wrapper.load_state_dict(share)
