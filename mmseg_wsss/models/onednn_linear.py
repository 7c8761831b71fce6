"""Linear layers that use all of a CPU in float32.

PyTorch gives float32 products to MKL, which leaves AVX-512 unused on processors that are not Intel's (an AMD EPYC does
100 GFLOP/s a core with it), while oneDNN, which PyTorch ships too, uses it everywhere (220 GFLOP/s). Linear layers are
three quarters of a vision transformer's training step. The results are the same up to rounding.
"""

import torch
from mmcv.cnn import bricks
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.utils.flop_counter import flop_registry, register_flop_formula

_REPLACED = (nn.Linear, bricks.wrappers.Linear)  # the second only treats empty inputs of PyTorch 1.5 in another way
_AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, '_linear_pointwise')


class OneDNNLinear(nn.Linear):
    """An ``nn.Linear`` whose float32 products on a CPU are oneDNN's; everything else stays PyTorch's."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        if not _serves(x):
            return super().forward(x)
        return _OneDNNLinear.apply(x, self.weight, self.bias)


def use_onednn(module: nn.Module) -> None:
    """Make every plain linear layer of ``module`` a :class:`OneDNNLinear`, in place; parameters and names stay."""
    if _AVAILABLE:
        for layer in module.modules():
            if type(layer) in _REPLACED:
                layer.__class__ = OneDNNLinear


def _serves(x: Tensor) -> bool:
    """Whether oneDNN's product is to be had and PyTorch would take MKL's."""
    return (
        not torch.compiler.is_compiling()  # first: the compiler understands this one and stops reading
        and x.device.type == 'cpu'
        and x.dtype == torch.float32
        and x.dim() > 1
        and x.numel() > 0
        and torch._C._get_mkldnn_enabled()  # torch.backends.mkldnn.flags(enabled=False) switches it off
        and not torch.is_autocast_enabled('cpu')
        and not torch.jit.is_tracing()
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias``; any strides."""
    if not (weight.is_contiguous() or weight.mT.is_contiguous()):
        weight = weight.contiguous()  # a second factor with gaps goes to oneDNN's reference kernel, 1000 times slower
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, 'none', [], '')


class _OneDNNLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows = grad.flatten(0, -2)
        grad_x = _product(grad, weight.mT) if ctx.needs_input_grad[0] else None
        grad_weight = _product(rows.mT, x.flatten(0, -2).mT) if ctx.needs_input_grad[1] else None
        grad_bias = rows.sum(0) if ctx.needs_input_grad[2] else None
        return grad_x, grad_weight, grad_bias


if _AVAILABLE and torch.ops.mkldnn._linear_pointwise not in flop_registry:

    @register_flop_formula(torch.ops.mkldnn._linear_pointwise)
    def _flops(x_shape: torch.Size, weight_shape: torch.Size, *args, **kwargs) -> int:
        """For ``torch.utils.flop_counter``."""
        return 2 * x_shape.numel() * weight_shape[0]
