"""Fully connected conditional random field by pydensecrf."""

import numpy as np
import torch
from mmseg.registry import MODELS
from torch import Tensor

from .fully_connected import FullyConnectedCRF


@MODELS.register_module()
class DenseCRF(FullyConnectedCRF):
    """Mean-field inference in a fully connected CRF by pydensecrf.

    Dense CRF: https://arxiv.org/abs/1210.5644. pydensecrf runs on the CPU, one image after the other, about a second
    for a photo with 21 classes; run several processes to use more cores (it holds the interpreter lock). Its filtering
    is approximate (a permutohedral lattice).

    Args:
        kwargs: Of :class:`FullyConnectedCRF`; the default preset is ToCo's at test time.

    Raises:
        ImportError: pydensecrf is not installed.
    """

    on_cpu = True  # worth worker processes

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        try:
            from pydensecrf.densecrf import DenseCRF2D
        except ImportError as error:
            raise ImportError(
                'DenseCRF needs pydensecrf: pip install pydensecrf2==1.1 (compiles for half a minute)'
            ) from error
        self._crf = DenseCRF2D

    def _infer(self, image: Tensor, unary: Tensor) -> Tensor:
        """Probabilities (K, H, W), on the CPU."""
        count, height, width = unary.shape
        crf = self._crf(width, height, count)
        # pydensecrf reads raw memory and needs contiguous, writable arrays.
        crf.setUnaryEnergy(np.array(unary.flatten(1).cpu().numpy(), order='C'))
        crf.addPairwiseGaussian(**self.gaussian)
        crf.addPairwiseBilateral(
            rgbim=np.array(image.byte().permute(1, 2, 0).cpu().numpy(), order='C'), **self.bilateral
        )
        return torch.from_numpy(np.reshape(crf.inference(self.num_iter), (count, height, width)))
