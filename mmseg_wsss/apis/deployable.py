"""A network as one function of an image, for programs without mmsegmentation: ``torch.export`` and ONNX."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ..fileio import whole_file


class Deployable(nn.Module):
    """Normalisation, encoder and decoder of a segmentor: pixels to logits of the same size.

    Neither CAMs nor sliding windows nor several scales. At image sizes that the network's own test does not pad, the
    logits are those of its ``encode_decode`` in mode ``'whole'``.

    Args:
        network: mmseg's ``EncoderDecoder`` or one derived from it, in evaluation mode.

    Raises:
        ValueError: it has no decoder, no mean and deviation, a single logit for two classes, or positions that depend
            on the size of the image.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        preprocessor, head = network.data_preprocessor, getattr(network, 'decode_head', None)
        if not isinstance(head, nn.Module):
            raise ValueError(f'{type(network).__name__} has no decode_head: CAMs are not exported')
        if head.out_channels != head.num_classes:
            raise ValueError(f'decode_head has {head.out_channels} channels for {head.num_classes} classes')
        if getattr(network.backbone, 'pos_embed_offset', 0):
            raise ValueError('backbone.pos_embed_offset depends on the size of the image and is not exported')
        if not getattr(preprocessor, '_enable_normalize', False):
            raise ValueError('data_preprocessor has no mean and std')
        self.rgb = preprocessor.channel_conversion  # what it loads is BGR
        self.register_buffer('mean', preprocessor.mean.clone())
        self.register_buffer('std', preprocessor.std.clone())
        self.backbone, self.head = network.backbone, head
        self.neck = network.neck if network.with_neck else nn.Identity()
        self.patch_size = getattr(network.backbone, 'patch_size', 32)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of an image.

        Args:
            image: (1, 3, H, W), RGB in 0..255, both sides multiples of ``patch_size``.

        Returns:
            (1, K, H, W), background first.
        """
        pixels = image if self.rgb else image.flip(1)
        logits = self.head(self.neck(self.backbone((pixels - self.mean) / self.std)))
        return F.interpolate(logits, size=image.shape[-2:], mode='bilinear', align_corners=self.head.align_corners)


def export(network: nn.Module) -> ExportedProgram:
    """The network by ``torch.export``, for one image of any size of at least three patches."""
    deployable = Deployable(network).eval()
    patch = deployable.patch_size
    sides = {2: patch * Dim('rows', min=3, max=512), 3: patch * Dim('columns', min=3, max=512)}
    example = torch.zeros(1, 3, 20 * patch, 24 * patch)
    with torch.no_grad():
        return torch.export.export(deployable, (example,), dynamic_shapes={'image': sides}, strict=False)


def write_onnx(
    program: ExportedProgram,
    path: str | Path,
    *,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    patch_size: int,
    side: int | None = None,
) -> None:
    """Write an exported network as ONNX, complete or not at all, with what a program needs to know in its metadata.

    Args:
        program: of :func:`export`.
        path: file to write.
        classes: names of the channels, background first.
        palette: RGB in 0..255 per class.
        patch_size: of which image sides must be multiples.
        side: longer side in pixels to which photographs should be resized; None: as they are.

    Raises:
        ImportError: onnx or onnxscript is not installed.
    """
    model = torch.onnx.export(program, dynamo=True, opset_version=20, verbose=False).model_proto
    about = dict(classes=[*classes], palette=[[*one] for one in palette], patch_size=patch_size, side=side)
    for key, value in about.items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    with whole_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
