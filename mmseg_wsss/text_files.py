"""Text and JSON files that people and other programs write, read with errors that name the file."""

import json
from pathlib import Path
from typing import Any


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, with or without the byte-order mark of Windows.

    Raises:
        ValueError: the file cannot be opened, or is not UTF-8; the message begins with its name and the line.
    """
    try:
        return Path(path).read_text(encoding='utf-8-sig')
    except OSError as error:
        raise ValueError(f'{path}: {error.strerror}') from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b'\n') + 1
        raise ValueError(
            f'{path}:{line}: not UTF-8; save the file again with that encoding (Excel: "CSV UTF-8")'
        ) from error


def read_json(path: str | Path, **options: Any) -> Any:
    """The content of a JSON file.

    Args:
        path: file, UTF-8.
        options: of ``json.loads``.

    Raises:
        ValueError: as :func:`read_text`; or the file is not JSON, or is beyond what Python reads.
    """
    text = read_text(path)
    try:
        return json.loads(text, **options)
    except json.JSONDecodeError as error:
        raise ValueError(f'{path}:{error.lineno}: not JSON: {error.msg} (column {error.colno})') from error
    except RecursionError as error:
        raise ValueError(f'{path}: JSON that is nested too deeply to be read: write it with fewer levels') from error
    except ValueError as error:  # what is left is Python's limit for an integer
        raise ValueError(f'{path}: JSON with a number of too many digits to be read: correct that number') from error
