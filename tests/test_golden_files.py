"""Every golden file has a row in its page, which says what it is and which published code it was recorded from."""

import re
from pathlib import Path

from published import GOLDEN

TESTS = Path(__file__).parent


def rows() -> dict[str, list[str]]:
    """File name -> the other cells of its row."""
    lines = (GOLDEN / 'README.md').read_text(encoding='utf-8').splitlines()
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines if line.startswith('| `')]
    return {name.strip('`'): rest for name, *rest in cells}


def test_every_file_has_a_row_with_its_contents_and_tests():
    found = rows()
    sources = {name: cells for name, cells in found.items() if name.endswith('*')}
    files = {name: cells for name, cells in found.items() if name not in sources}
    assert sorted(files) == sorted(path.name for path in GOLDEN.iterdir() if path.name != 'README.md')
    for name, (contents, tested) in files.items():
        assert contents, name
        for path in re.findall(r'`(\S+\.py)`', tested):
            assert (TESTS / path).is_file(), f'{name}: {path}'
    prefixes = tuple(name.removesuffix('*') for name in sources)
    assert [name for name in files if not name.startswith(prefixes)] == [], 'each of a repository that is named'
    assert all(re.fullmatch('[0-9a-f]{7}', commit) for _, commit in sources.values())
