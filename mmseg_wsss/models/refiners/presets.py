"""Parameter sets of the dense CRFs that the papers use, by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class CRFPreset(NamedTuple):
    """Parameters of a fully connected CRF.

    Attributes:
        gaussian: Smoothness kernel: ``sxy``, its width in pixels, and ``compat``, its weight.
        bilateral: Appearance kernel: ``sxy`` in pixels, ``srgb`` in colour steps of 0..255, and ``compat``.
        num_iter: Mean-field iterations.
    """

    gaussian: Mapping[str, float]
    bilateral: Mapping[str, float]
    num_iter: int = 10


def _preset(sxy: float, compat: float, *, bilateral: tuple[float, float, float]) -> CRFPreset:
    gaussian = MappingProxyType(dict(sxy=sxy, compat=compat))
    return CRFPreset(gaussian, MappingProxyType(dict(zip(('sxy', 'srgb', 'compat'), bilateral, strict=True))))


# ToCo (https://arxiv.org/abs/2303.01267, section 4.1, and its published code) and WeakTr
# (https://arxiv.org/abs/2304.01184, section 4.2, and its published code). "-labels" starts from the arg-max labels of
# CAMs, see LabelCRF; the others start from the probabilities of a segmentation at test time.
CRF_PRESETS: Mapping[str, CRFPreset] = MappingProxyType(
    {
        'toco': _preset(1, 1, bilateral=(121, 5, 4)),
        'weaktr-voc': _preset(3, 3, bilateral=(83, 5, 3)),
        'weaktr-coco': _preset(1, 3, bilateral=(67, 3, 4)),
        'weaktr-voc-labels': _preset(4, 3, bilateral=(83, 5, 3)),
        'weaktr-coco-labels': _preset(3, 3, bilateral=(50, 5, 10)),
    }
)


def find_preset(name: str) -> CRFPreset:
    """The preset of this name.

    Raises:
        ValueError: there is none; the message lists the presets.
    """
    if name not in CRF_PRESETS:
        raise ValueError(f'there is no CRF preset {name!r}, but there are: {", ".join(CRF_PRESETS)}')
    return CRF_PRESETS[name]
