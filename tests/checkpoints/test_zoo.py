"""The model zoo, its page and the configs tell the same."""

import re
from pathlib import Path

import pytest

from mmseg_wsss.checkpoints import ZOO, fetch, find
from mmseg_wsss.checkpoints.download import _hash_in_name

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / 'docs' / 'weights.md').read_text()


def rows(header):
    """The cells of the table that begins with this header, by the name in its first column."""
    lines = PAGE[PAGE.index(header) :].split('\n\n')[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    return {row[0].strip('`'): row for row in cells}


def test_the_page_lists_the_zoo():
    table, addresses = rows('| name | what |'), rows('| name | address |')
    assert list(table) == list(addresses) == [entry.name for entry in ZOO]
    for entry in ZOO:
        assert addresses[entry.name][1] == entry.url
        assert table[entry.name][2] == f'`{entry.file}`'
        digest = f'begins with `{entry.sha256}`' if entry.sha256 else 'not verified here'
        assert table[entry.name][3] == digest


def test_digests_are_those_of_the_publishers_file_names():
    assert [entry.sha256 for entry in ZOO] == [_hash_in_name(entry.url) for entry in ZOO]
    for field in ('name', 'url', 'file'):
        values = [getattr(entry, field) for entry in ZOO]
        assert len(set(values)) == len(values), 'two weights would take each other for their own'


def test_every_address_in_a_config_is_in_the_zoo():
    found = set()
    for path in (ROOT / 'configs').rglob('*.py'):
        text = re.sub(r"'\s*\n\s*'", '', path.read_text())  # long ones are written in two parts
        found |= set(re.findall(r"'(https?://[^']+\.(?:pth|bin|safetensors))'", text))
    assert len(found) >= 7
    assert {url for url in found if find(url) is None} == set()


def test_the_address_in_a_config_finds_the_file_by_its_name_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('MMSEG_WSSS_CACHE', str(tmp_path))
    entry = find('vit_large_patch16_224.augreg_in21k')
    (tmp_path / 'timm_vit_large_patch16_224.augreg_in21k.bin').write_bytes(b'there')
    assert fetch(entry.url) == fetch(entry.name) == tmp_path / entry.file
    (tmp_path / 'deit_small_patch16_224-cd65a155.pth').write_bytes(b'something else')
    with pytest.raises(ValueError, match=r'its SHA-256 is .* begins with cd65a155'):
        fetch('deit_small')
