"""URLs of the pretrained ViTs that the configs start from, and of others that :class:`TokenViT` can load."""

from typing import NamedTuple

from mmengine.runner import (
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)


class Weights(NamedTuple):
    """One published file.

    Attributes:
        name: its name on our command line.
        url: its address.
        file: its name in the cache folder, which is unique.
        sha256: the digest or its first hex digits, as far as the publisher states it; empty: nothing can be checked.
    """

    name: str
    url: str
    file: str
    sha256: str = ''


def _named(name: str, url: str, sha256: str = '') -> Weights:
    """A file whose own name is unique."""
    return Weights(name, url, url.rsplit('/', 1)[1], sha256)


def _timm(name: str) -> Weights:
    """A file of timm on the Hugging Face hub, where all files have the same name."""
    url = f'https://huggingface.co/timm/{name}/resolve/main/pytorch_model.bin'
    return Weights(name, url, f'timm_{name}.bin')


_FACEBOOK = 'https://dl.fbaipublicfiles.com'

ZOO = (
    _named('deit_tiny', f'{_FACEBOOK}/deit/deit_tiny_patch16_224-a1311bcf.pth', 'a1311bcf'),
    _named('deit_small', f'{_FACEBOOK}/deit/deit_small_patch16_224-cd65a155.pth', 'cd65a155'),
    _named('deit_base', f'{_FACEBOOK}/deit/deit_base_patch16_224-b5f2ef4d.pth', 'b5f2ef4d'),
    _named(
        'vit_base',
        'https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-vitjx/'
        'jx_vit_base_p16_224-80ecf9dd.pth',
        '80ecf9dd',
    ),
    _timm('vit_large_patch16_224.augreg_in21k'),
    _timm('vit_small_patch16_384.augreg_in21k_ft_in1k'),
    _named('dinov2_vits14', f'{_FACEBOOK}/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth'),
    _named(
        'eva02_small',
        'https://download.openmmlab.com/mmpretrain/v1.0/eva02/'
        'eva02-small-p14_in21k-pre_3rdparty_in1k-336px_20230505-9c5b0e85.pth',
        '9c5b0e85',
    ),
    _named('mae_base', f'{_FACEBOOK}/mae/pretrain/mae_pretrain_vit_base.pth'),
    Weights(
        'clip_vit_base',
        'https://huggingface.co/openai/clip-vit-base-patch16/resolve/main/pytorch_model.bin',
        'openai_clip-vit-base-patch16.bin',
    ),
    _named('dino_small', f'{_FACEBOOK}/dino/dino_deitsmall16_pretrain/dino_deitsmall16_pretrain.pth'),
)


def find(name_or_url: str) -> Weights | None:
    """The entry of this name or URL, or None."""
    return next((entry for entry in ZOO if name_or_url in (entry.name, entry.url)), None)


def address(name: str) -> str:
    """The URL of a name such as ``torchvision://resnet50``, from mmengine's tables; anything else as it is.

    mmengine has a loader for each of these schemes, which runs what the downloaded file asks for.

    Raises:
        ValueError: there is no such name, or mmengine takes only a part of its file; the message says what to write.
    """
    scheme, _, model = name.partition('://')
    if scheme in ('torchvision', 'modelzoo'):
        table = get_torchvision_models()
    elif scheme in ('open-mmlab', 'openmmlab'):
        table = get_external_models()
        model = get_deprecated_model_names().get(model, model)
    elif scheme == 'mmcls':
        table = get_mmcls_models()
    else:
        return name
    if model not in table:
        raise ValueError(f'{name}: mmengine knows no such name: write the http(s) URL or the path of the file')
    if scheme == 'mmcls':  # a whole classifier: mmengine's loader keeps its backbone
        raise ValueError(f"{name} is a part of a file: write checkpoint='{table[model]}', prefix='backbone.'")
    return table[model]
