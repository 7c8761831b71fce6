"""What all sources of image-level labels share: from named tags to class indices; every problem is reported."""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .names import composed, image_name
from .problems import DUPLICATE, OUTSIDE, UNKNOWN_TAG, Problems


class Entry(NamedTuple):
    """One image as its source describes it: its name, its tags, and where they are written (``file:line``)."""

    name: str
    tags: Sequence[str]
    where: str


class ImageLabel(NamedTuple):
    """Foreground class indices of one image, sorted and unique, and where they are written (``file:line``)."""

    indices: list[int]
    where: str


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the foreground class names as a tuple.

    Raises:
        ValueError: no name, a name twice, something else than a string, or ``background`` among them.
    """
    if isinstance(classes, str) or not classes or not all(isinstance(name, str) and name for name in classes):
        raise ValueError(f'classes should be a list of at least one foreground class name, got {classes!r}')
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise ValueError(f'classes has {", ".join(twice)} twice')
    if 'background' in classes:
        raise ValueError("classes holds the foreground only: take 'background' out (it is id 0 without being listed)")
    return tuple(classes)


class ImageLabelSource(ABC):
    """A source of the image-level labels of a data set.

    Args:
        ignore_tags: tags that are dropped on purpose, for a source with more classes than are trained. Any other tag
            that is not a class name is an error.
    """

    def __init__(self, *, ignore_tags: Sequence[str] = ()) -> None:
        if isinstance(ignore_tags, str):
            raise ValueError(f'ignore_tags should be a list of tags, got the string {ignore_tags!r}')
        self.ignore_tags = frozenset(map(composed, ignore_tags))

    @abstractmethod
    def read(self, classes: tuple[str, ...], problems: Problems) -> Iterator[Entry]:
        """Yield one entry per image; note in ``problems`` whatever cannot be read.

        An entry that cannot be read is yielded without tags, so that its image is not reported as unlabelled as well.
        """

    def name_of(self, path: str) -> str:
        """The name under which this source knows the image at ``path``, a relative path below the image folder."""
        return image_name(path)

    def load(self, classes: Sequence[str]) -> dict[str, list[int]]:
        """Read everything.

        Args:
            classes: foreground class names; index k of the result is ``classes[k]``.

        Returns:
            Image name (relative path without extension) -> sorted class indices in 0..C-1; empty = no tag.

        Raises:
            ImageLabelError: with all problems at once.
        """
        problems = Problems()
        labels = self.collect(classes, problems)
        problems.raise_if_any()
        return {name: label.indices for name, label in labels.items()}

    def collect(self, classes: Sequence[str], problems: Problems) -> dict[str, ImageLabel]:
        """As :meth:`load`, with the position of each label; problems are noted in ``problems`` instead of raised."""
        classes = check_classes(classes)
        both = self.ignore_tags.intersection(classes)
        if both:
            raise ValueError(f'ignore_tags drops {", ".join(sorted(both))}, which are in classes')
        index = {composed(name): k for k, name in enumerate(classes)}
        unknown: dict[str, str] = {}  # tag -> hint
        labels: dict[str, ImageLabel] = {}
        for entry in self.read(classes, problems):
            tags = [composed(tag) for tag in entry.tags]
            indices = {index[tag] for tag in tags if tag in index}
            for tag in tags:
                if tag not in index and tag not in self.ignore_tags:
                    if tag not in unknown:  # the search is slow with many classes: once per tag, not per image
                        unknown[tag] = _hint(tag, classes)
                    problems.add(UNKNOWN_TAG, f'{entry.where}: {entry.name!r} has the tag {tag!r}{unknown[tag]}')
            try:
                name = image_name(entry.name)
            except ValueError as error:
                problems.add(OUTSIDE, f'{entry.where}: {error}')
                continue
            if name in labels:
                problems.add(DUPLICATE, f'{entry.where}: {entry.name!r} is labelled already in {labels[name].where}')
            else:
                labels[name] = ImageLabel(sorted(indices), entry.where)
        if unknown:
            problems.advise(UNKNOWN_TAG, _advice(unknown))
        return labels


def _advice(unknown: dict[str, str]) -> str:
    """All unknown tags once: the doubtful ones with their hint, the others as a value to paste."""
    doubtful = [f'{tag!r}{hint}' for tag, hint in sorted(unknown.items()) if hint]
    others = [repr(tag) for tag, hint in sorted(unknown.items()) if not hint]
    texts = []
    if doubtful:
        texts.append(f'correct {", ".join(doubtful[:50])}')
    if others:
        texts.append(f'add to classes, or drop on purpose: ignore_tags=[{", ".join(others[:50])}]')
    return '; '.join(texts)


def _hint(tag: str, classes: tuple[str, ...]) -> str:
    """What the writer of an unknown tag may have meant."""
    if tag == 'background':
        return ' (background is not a tag: leave the tags empty)'
    parts = tag.replace(',', ' ').split()
    if len(parts) > 1 and all(part in classes for part in parts):
        return f' (separate the tags: {";".join(parts)!r} in CSV, a list in JSON)'
    lower = {name.lower(): name for name in classes}
    close = difflib.get_close_matches(tag.strip().lower(), lower, n=1)
    return f' (did you mean {lower[close[0]]!r}?)' if close else ''
