"""All problems with the files of a data set, collected and raised as one readable error."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

UNREADABLE = 'cannot be read'
UNKNOWN_TAG = 'tag that is not a class'
NO_ENTRY = 'image without an entry in the labels'
MISSING_IMAGE = 'listed image that is missing'
MISSING_MASK = 'image whose mask is missing'
UNSUPPORTED = 'photo in a format that is not read'
BROKEN_IMAGE = 'image that cannot be read'
DUPLICATE = 'given twice'
OUTSIDE = 'path that leaves the data set'

SHOWN_PER_KIND = 20


class DataSetError(ValueError):
    """All problems with the files of a data set.

    Args:
        problems: kind of problem -> messages, each with the file and, where it is known, the line or key it is about.
        advice: kind of problem -> how to fix all of that kind.

    Attributes:
        problems: all messages; the text of the error shows at most 20 of each kind.
    """

    subject = 'the data set'

    def __init__(self, problems: Mapping[str, Sequence[str]], advice: Mapping[str, str] | None = None) -> None:
        self.problems = {kind: list(messages) for kind, messages in problems.items()}
        self.advice = dict(advice or {})
        super().__init__(self._text())

    def _text(self) -> str:
        total = sum(map(len, self.problems.values()))
        lines = [f'{total} problem{"s" * (total > 1)} with {self.subject}']
        for kind, messages in self.problems.items():
            lines.append(f'{kind} ({len(messages)}):')
            lines += [f'  {message}' for message in messages[:SHOWN_PER_KIND]]
            if len(messages) > SHOWN_PER_KIND:
                lines.append(f'  ... and {len(messages) - SHOWN_PER_KIND} more')
            if kind in self.advice:
                lines.append(f'  -> {self.advice[kind]}')
        return '\n'.join(lines)

    def __reduce__(self):
        # A worker process pickles its exception for the parent, which needs the constructor's arguments.
        return type(self), (self.problems, self.advice)


class ImageLabelError(DataSetError):
    """Wrong image-level labels."""

    subject = 'the image-level labels'


class PseudoMaskError(DataSetError):
    """Wrong pseudo-masks."""

    subject = 'the pseudo-masks'


class Problems:
    """Collects problems while files are read, so that one run names all that has to be fixed.

    Args:
        error: what is raised in the end.
    """

    def __init__(self, error: type[DataSetError] = ImageLabelError) -> None:
        self._error = error
        self._messages: dict[str, list[str]] = {}
        self._advice: dict[str, str] = {}

    def add(self, kind: str, message: str) -> None:
        """Note one problem; ``message`` starts with its file."""
        self._messages.setdefault(kind, []).append(message)

    def advise(self, kind: str, text: str) -> None:
        """Say once, below all problems of this kind, how to fix them."""
        self._advice[kind] = text

    def stop(self, kind: str, message: str) -> NoReturn:
        """Note a problem after which nothing more can be read, and raise all so far."""
        self.add(kind, message)
        raise self._error(self._messages, self._advice) from None  # the message says it all

    @contextmanager
    def stopping(self, kind: str) -> Iterator[None]:
        """Context whose ValueError, which names its file, is a problem of this kind; see :meth:`stop`."""
        try:
            yield
        except ValueError as error:
            self.stop(kind, str(error))

    def take(self, kind: str) -> list[str]:
        """Take the problems of a kind out, for a caller to whom they are none."""
        return self._messages.pop(kind, [])

    def raise_if_any(self) -> None:
        """Raise every noted problem as one error."""
        if self._messages:
            raise self._error(self._messages, self._advice)
