"""What the parts of a segmentor have in common, said once: the token width, the number of classes, the backbone's kind.

A config may leave out what follows from the backbone or from ``model.num_classes``. What it says all the same must fit.
"""

from collections.abc import Mapping
from typing import Any

from mmpretrain.models import VisionTransformer
from mmseg.registry import MODELS
from torch import nn


def require_tokens(method: str, backbone: Mapping[str, Any]) -> None:
    """Refuse the config of a backbone that cannot hand out its tokens, before it is built.

    Args:
        method: name of the segmentor.
        backbone: config of its backbone.

    Raises:
        TypeError: the class has no method ``tokens``; the message says what to write instead.
    """
    with MODELS.switch_scope_and_registry(None) as registry:
        kind = registry.get(backbone['type']) if isinstance(backbone['type'], str) else backbone['type']
    if kind is None or hasattr(kind, 'tokens'):  # of an unknown name mmengine says more
        return
    if kind.__name__ == 'VisionTransformer':  # mmpretrain's, and mmseg's own class of that name
        remedy = (
            "A plain ViT is served by TokenViT: write type='TokenViT' and mmpretrain's arguments arch, img_size, "
            'patch_size; it loads the weights of both'
        )
    else:
        remedy = "Write backbone=dict(_delete_=True, type='TokenViT', arch='deit-small', ...)"
    raise TypeError(
        f'{method} cannot work with model.backbone={kind.__name__}: it needs a vision transformer with the method '
        'tokens(images, *, record=None) -> Tokens (patch tokens as maps, class tokens, what was recorded). '
        f'{remedy}, or add the method to a backbone of your own (mmseg_wsss/models/backbones/token_vit.py)'
    )


def token_width(backbone: nn.Module) -> int | None:
    """Channels of every map of a plain vision transformer; None for other backbones, whose maps differ."""
    return backbone.embed_dims if isinstance(backbone, VisionTransformer) else None


def completed(part: Mapping[str, Any], name: str, **values: Any) -> dict[str, Any]:
    """The config of a part with what it leaves out.

    Args:
        part: config.
        name: its key in the model, for the message.
        **values: what the other parts say; None where they say nothing.

    Raises:
        ValueError: the config has another value.
    """
    known = {key: value for key, value in values.items() if value is not None}
    wrong = [
        f'{name}.{key} is {part[key]}, but must be {value}'
        for key, value in known.items()
        if _listed(part.get(key, value)) != _listed(value)
    ]
    if wrong:
        raise ValueError(f'{"; ".join(wrong)}: it follows from other parts of the model, so leave it out')
    return {**part, **known}


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


class FittedDecodeHead:
    """Mixin of an ``EncoderDecoder`` whose decode head may leave out ``in_channels`` and ``num_classes``.

    It comes before mmseg's class. With a neck, ``in_channels`` are the neck's and stay with the config.

    Args:
        num_classes: number of foreground classes C; the decode head has C + 1. None: the decode head says it.
        decode_head: any decode head of mmseg.
        **kwargs: of mmseg's class.

    Raises:
        ValueError: the decode head has another number of classes or of channels.
    """

    def __init__(self, *, num_classes: int | None = None, decode_head: dict, **kwargs) -> None:
        classes = None if num_classes is None else num_classes + 1
        super().__init__(decode_head=completed(decode_head, 'decode_head', num_classes=classes), **kwargs)

    def _init_decode_head(self, decode_head: dict) -> None:
        width = None if self.with_neck else token_width(self.backbone)
        index = decode_head.get('in_index', -1)
        if width is not None and isinstance(index, (list, tuple)):
            width = [width] * len(index)
        super()._init_decode_head(completed(decode_head, 'decode_head', in_channels=width))
