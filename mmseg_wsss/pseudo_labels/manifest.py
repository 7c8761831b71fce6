"""The settings that a folder of pseudo-labels was made with, so that a run only continues its own work."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..fileio import write_text
from ..text_files import read_json

_FORMAT = 1
_SHOWN = 8
_ABSENT = object()


class ManifestError(ValueError):
    """The folder contains something other than the beginning of this run."""


class Manifest:
    """``manifest.json``: the settings that determine the masks, their hash, and what the run found out.

    It is written before the first mask. A later run with equal settings continues, one with others is refused.

    Args:
        folder: The output folder.
        settings: Everything that changes the masks, as JSON values; other objects are written as text.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        self.path = Path(folder) / 'manifest.json'
        self.settings: dict[str, Any] = json.loads(json.dumps(settings, default=str))

    def read(self) -> dict[str, Any] | None:
        """What an earlier run found out (see :meth:`write`); None where the folder is new.

        Raises:
            ManifestError: the folder was made with other settings (the message names them), its manifest is damaged,
                or it has files but no manifest.
        """
        if not self.path.exists():
            masks = self.path.parent.is_dir() and any(self.path.parent.glob('*/**/*.png'))
            if not self.path.exists():  # it may have been written while we looked, by another job in this folder
                if masks:
                    raise ManifestError(f'{self.path.parent} has masks but no manifest.json: choose another --out')
                return None
        try:
            record = read_json(self.path)
            there, found = record['settings'], record['found']
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestError(f'{self.path} is damaged ({error}): choose another --out') from error
        if there != self.settings:
            raise ManifestError(
                f'{self.path.parent} was made with other settings; choose another --out or remove the folder:\n  '
                + '\n  '.join(_differences(there, self.settings))
            )
        return found

    @property
    def sha256(self) -> str:
        """Hash of the settings, which the file has too."""
        return hashlib.sha256(_canonical(self.settings).encode()).hexdigest()

    def write(self, found: Mapping[str, Any], name: str = 'manifest.json') -> None:
        """Write the file.

        Args:
            found: What the run found out before the first mask, for example the threshold and the table of its sweep.
            name: Of the temporary file that becomes ``manifest.json``; it must differ between jobs that start in the
                same folder at the same time.
        """
        record = {
            'format': _FORMAT,
            'sha256': self.sha256,
            'settings': self.settings,
            'found': found,
        }
        first = self.path.with_name(name)
        write_text(first, json.dumps(record, indent=2) + '\n')
        os.replace(first, self.path)


def _canonical(settings: Mapping[str, Any]) -> str:
    """One text for equal settings."""
    return json.dumps(settings, sort_keys=True)


def _flat(value: Any, key: str = '') -> dict[str, Any]:
    """Nested settings by dotted keys."""
    if isinstance(value, dict) and value:
        return {name: leaf for k, v in value.items() for name, leaf in _flat(v, f'{key}.{k}' if key else k).items()}
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        return {name: leaf for i, v in enumerate(value) for name, leaf in _flat(v, f'{key}[{i}]').items()}
    return {key: value}


def _differences(there: dict, here: dict) -> list[str]:
    """The entries that differ, one line each."""
    old, new = _flat(there), _flat(here)
    keys = [key for key in {**new, **old} if old.get(key, _ABSENT) != new.get(key, _ABSENT)]
    lines = [f'{key}: {_text(old, key)} there, {_text(new, key)} now' for key in keys[:_SHOWN]]
    return lines if len(keys) <= _SHOWN else [*lines, f'and {len(keys) - _SHOWN} more']


def _text(flat: dict[str, Any], key: str) -> str:
    """A value for the message."""
    return json.dumps(flat[key]) if key in flat else 'nothing'
