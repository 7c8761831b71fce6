"""Image-level labels in one JSON or CSV file."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmseg.registry import TASK_UTILS

from ...text_files import read_json, read_text
from .base import Entry, ImageLabelSource
from .problems import UNREADABLE, Problems


@TASK_UTILS.register_module()
class TagFile(ImageLabelSource):
    """Tags per image, written by hand or by a labelling tool.

    JSON: ``{"a.jpg": ["cat", "dog"], "sub/b.jpg": []}``. CSV: a header ``file,tags``, then ``a.jpg,cat;dog`` with the
    tags of an image separated by ``;`` (class names may hold spaces and, in quotes, commas). Where the header has a
    ``;`` or a tabulator between its two words, as spreadsheets of some countries write it, that is what separates the
    fields. UTF-8. Images are named relative to the image folder, with or without extension; no tags = an image that
    shows none of the classes.

    Args:
        path: the ``.json``, ``.csv`` or ``.tsv`` file.
        ignore_tags: tags that are dropped on purpose.
    """

    def __init__(self, *, path: str | Path, ignore_tags: Sequence[str] = ()) -> None:
        super().__init__(ignore_tags=ignore_tags)
        self.path = Path(path)
        suffix = self.path.suffix.lower()
        if suffix in ('.xlsx', '.xls', '.ods', '.numbers'):
            raise ValueError(
                f'{path}: a spreadsheet is not read; save it as "CSV UTF-8" with the columns file and tags'
            )
        if suffix not in ('.json', '.csv', '.tsv'):
            raise ValueError(f'{path}: a tag file is a .json or a .csv')

    def read(self, classes: tuple[str, ...], problems: Problems) -> Iterator[Entry]:
        """Yield the entries in the order of the file."""
        return (self._read_json if self.path.suffix.lower() == '.json' else self._read_csv)(problems)

    def _read_csv(self, problems: Problems) -> Iterator[Entry]:
        with problems.stopping(UNREADABLE):
            text = read_text(self.path)
        lines = text.splitlines()
        first = next((number for number, line in enumerate(lines, start=1) if line.strip()), None)
        if first is None:
            problems.stop(UNREADABLE, f'{self.path}:1: the file is empty, its header should be file,tags')
        header = re.fullmatch(r'"?file"?\s*([,;\t])\s*"?tags"?[\s,;]*', lines[first - 1].strip(), re.IGNORECASE)
        if header is None:
            where, line = f'{self.path}:{first}', lines[first - 1]
            problems.stop(UNREADABLE, f'{where}: the header should be file,tags but is {line!r}')
        rows = csv.reader(io.StringIO(text, newline=''), delimiter=header[1], strict=True)
        begin = 1
        try:
            for row in rows:
                number, begin = begin, rows.line_num + 1
                if number > first and row:
                    yield self._entry(row, header[1], f'{self.path}:{number}', problems)
        except csv.Error as error:
            problems.stop(UNREADABLE, f'{self.path}:{rows.line_num}: {error}')

    @staticmethod
    def _entry(row: list[str], delimiter: str, where: str, problems: Problems) -> Entry:
        """One row; spreadsheets fill short rows up with empty fields, and ``a.jpg;cat;dog`` needs no quotes."""
        name, *fields = row
        tags = [tag.strip() for field in fields for tag in field.split(';') if tag.strip()]
        if delimiter == ',' and (not fields or any(field.strip() for field in fields[1:])):
            problems.add(UNREADABLE, f'{where}: {len(row)} fields, should be 2: file,tag;tag;tag')
            tags = []
        return Entry(name, tags, where)

    def _read_json(self, problems: Problems) -> Iterator[Entry]:
        with problems.stopping(UNREADABLE):
            # Objects as tuples of pairs: a dict would keep only the last of two equal names.
            content = read_json(self.path, object_pairs_hook=tuple)
        if not isinstance(content, tuple):
            problems.stop(UNREADABLE, f'{self.path}: should be {{file: [tags]}}, not a {type(content).__name__}')
        for name, tags in content:
            if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
                problems.add(UNREADABLE, f'{self.path}: the tags of {name!r} should be a list of strings: {tags!r:.60}')
                tags = ()
            yield Entry(name, tags, str(self.path))  # json does not report lines
