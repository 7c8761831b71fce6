"""A classifier whose weights are embeddings of words: the classes' names against names of background."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...checkpoints.text_embeddings import read_text_embeddings

_HOW = 'Make the file of all names of a config: python tools/make_text_embeddings.py CONFIG'
NO_SYNONYMS: Mapping[str, Sequence[str]] = {}


@MODELS.register_module()
class TextCAMHead(BaseModule):
    """Probabilities of class names in a softmax with names of background, as CLIP compares images and texts.

    CLIP-ES, https://arxiv.org/abs/2212.09506, section 3.2: names of what often surrounds the classes compete with them,
    so that a class is not recognised by its surroundings. A class with synonyms has the mean of their unit embeddings;
    published CLIP-ES puts synonyms into one text.

    Args:
        classes: names of the C foreground classes.
        background: names of what competes with them.
        embeddings: an ``.npz`` of ``names`` and ``embedding`` (``tools/make_text_embeddings.py``), or several, of which
            the first that has a name counts. All names need the prompt of one text encoder.
        synonyms: class -> names that are used in its place.
        in_channels: token width D of the image encoder.
        scale: factor on the cosines, 100 for CLIP.

    Raises:
        FileNotFoundError: there is no such file of embeddings.
        ValueError: a name has no embedding, there is no background, synonyms are of no class or no list, or a name is
            both class and background.
    """

    def __init__(
        self,
        *,
        classes: Sequence[str],
        background: Sequence[str],
        embeddings: str | Sequence[str],
        synonyms: Mapping[str, Sequence[str]] = NO_SYNONYMS,
        in_channels: int,
        scale: float = 100.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not background:
            raise ValueError('cam_head.background is empty: without a name to compete with, a class has no CAM')
        if wrong := [name for name, words in synonyms.items() if isinstance(words, str) or not words]:
            raise ValueError(f'cam_head.synonyms of {", ".join(wrong)} must be a list of names')
        if unknown := sorted(set(synonyms) - set(classes)):
            raise ValueError(f'cam_head.synonyms has {", ".join(unknown)}, but the classes are {", ".join(classes)}')
        rows = [list(synonyms.get(name, [name])) for name in classes] + [[name] for name in background]
        if both := sorted({name for row in rows[: len(classes)] for name in row} & set(background)):
            raise ValueError(f'cam_head.background has {", ".join(both)}, which also stand for a class')
        known = _embeddings([embeddings] if isinstance(embeddings, str) else embeddings)
        if missing := sorted({name for row in rows for name in row} - set(known)):
            raise ValueError(f'no text embedding of {", ".join(missing)} in {embeddings} (cam_head.embeddings). {_HOW}')
        text = np.stack([np.mean([known[name] for name in row], axis=0) for row in rows])  # (C + Bg, E)
        self.num_classes = len(classes)
        self.scale = scale
        self.register_buffer('text', F.normalize(torch.from_numpy(text), dim=1))
        self.projection = nn.Linear(in_channels, text.shape[1], bias=False)

    def forward(self, cls_token: Tensor, present: Tensor) -> Tensor:
        """Probabilities (B, C) of the classes in the softmax over the present classes and all background names.

        Args:
            cls_token: after the final norm, (B, D).
            present: bool (B, C), which classes take part; the others get 0.
        """
        cosine = F.normalize(self.projection(cls_token), dim=-1) @ self.text.T  # (B, C + Bg)
        absent = F.pad(~present, (0, cosine.shape[1] - self.num_classes))
        return (self.scale * cosine).masked_fill(absent, float('-inf')).softmax(dim=-1)[:, : self.num_classes]


def _embeddings(paths: Sequence[str]) -> dict[str, np.ndarray]:
    """Name -> unit vector (E,) of several files, the first one first."""
    merged: dict[str, np.ndarray] = {}
    for path in reversed(paths):
        try:
            merged |= read_text_embeddings(path)
        except FileNotFoundError as error:
            raise FileNotFoundError(f'cam_head.embeddings: there is no file {path}. {_HOW}') from error
    if len({len(row) for row in merged.values()}) > 1:
        raise ValueError(f'the embeddings of {", ".join(paths)} have different lengths: use one text encoder')
    return merged
