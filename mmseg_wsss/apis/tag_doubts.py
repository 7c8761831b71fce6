"""Image-level labels that a trained network doubts, and a file of corrected ones."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dataset import BaseDataset, pseudo_collate

from ..fileio import whole_file
from ..models import CAMSegmentor


class Doubt(NamedTuple):
    """A class of which tag and classifier disagree.

    Attributes:
        image: path of the image below the image folder.
        name: of the class.
        tagged: whether it is a tag of the image.
        score: of the classifier, in [0, 1].
    """

    image: str
    name: str
    tagged: bool
    score: float

    @property
    def doubt(self) -> float:
        """How sure the classifier is that the tag is wrong, in [0, 1]."""
        return 1 - self.score if self.tagged else self.score


@torch.no_grad()
def tag_scores(model: CAMSegmentor, images: BaseDataset) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Look at every image of a data set.

    Args:
        model: with weights, in evaluation mode.
        images: with image-level labels and the pipeline of a test.

    Yields:
        per image its path below the image folder, bool (C,) of its tags, and scores (C,) in [0, 1].
    """
    root = images.data_prefix.get('img_path') or ''
    for item in images:
        sample = item['data_samples']
        inputs = model.data_preprocessor(pseudo_collate([item]), False)['inputs']
        scores = model.tag_scores(inputs)[0].cpu().numpy()
        yield Path(sample.img_path).relative_to(root).as_posix(), sample.gt_score.numpy() > 0, scores


def doubts(
    looked_at: Sequence[tuple[str, np.ndarray, np.ndarray]], classes: Sequence[str], *, at_least: float = 0.5
) -> list[Doubt]:
    """The tags that are doubted by more than ``at_least``, the most doubtful first.

    Args:
        looked_at: of :func:`tag_scores`.
        classes: names, without background.
        at_least: in [0, 1).
    """
    found = [
        Doubt(image, name, bool(tagged), float(score))
        for image, tags, scores in looked_at
        for name, tagged, score in zip(classes, tags, scores, strict=True)
    ]
    return sorted((one for one in found if one.doubt > at_least), key=lambda one: (-one.doubt, one.image, one.name))


def write_tags(path: str | Path, tags: Mapping[str, Sequence[str]]) -> None:
    """Write a file for ``TagFile``: lines ``image,tags`` with tags between semicolons, complete or not at all.

    Args:
        path: file to write, ``.csv``.
        tags: path of an image below the image folder -> names of its classes.
    """
    with whole_file(path) as temporary, temporary.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['file', 'tags'])
        writer.writerows([image, ';'.join(names)] for image, names in tags.items())
