"""The manifest: equal settings go on, others are refused with what differs."""

import hashlib
import json

import pytest

from mmseg_wsss.fileio import file_sha256
from mmseg_wsss.pseudo_labels import Manifest, ManifestError

SETTINGS = {'threshold': 0.5, 'sizes': (1, 2), 'model': {'type': 'Net', 'head': {'dim': 8}}, 'steps': [{'type': 'A'}]}


def changed(**values):
    return {**SETTINGS, **values}


def test_a_new_folder_and_the_way_back(tmp_path):
    manifest = Manifest(tmp_path / 'out', SETTINGS)
    assert manifest.read() is None
    manifest.write({'threshold': 0.43})
    # tuples are lists in JSON, and the order of the keys does not count
    again = Manifest(tmp_path / 'out', dict(reversed(SETTINGS.items()), sizes=[1, 2]))
    assert again.read() == {'threshold': 0.43}
    record = json.loads((tmp_path / 'out' / 'manifest.json').read_text())
    text = '{"model": {"head": {"dim": 8}, "type": "Net"}, "sizes": [1, 2], "steps": [{"type": "A"}], "threshold": 0.5}'
    assert record['sha256'] == hashlib.sha256(text.encode()).hexdigest()
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['manifest.json']


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (changed(threshold=0.4), r'\n  threshold: 0\.5 there, 0\.4 now$'),
        (changed(model={'type': 'Net', 'head': {'dim': 9}}), r'\n  model\.head\.dim: 8 there, 9 now$'),
        (changed(sizes=[1]), r'\n  sizes: \[1, 2\] there, \[1\] now$'),
        (changed(steps=[{'type': 'A'}, {'type': 'B'}]), r'\n  steps\[1\]\.type: nothing there, "B" now$'),
        (changed(model=None, threshold=1), r'threshold: 0\.5 there, 1 now.*model: nothing there, null now'),
        (changed(**{f'more{i}': i for i in range(12)}), r'more7: nothing there, 7 now\n  and 4 more$'),
    ],
)
def test_what_differs_is_named(tmp_path, settings, message):
    Manifest(tmp_path, SETTINGS).write({})
    with pytest.raises(ManifestError, match=rf'(?s)was made with other settings; choose another --out.*{message}'):
        Manifest(tmp_path, settings).read()


def test_damaged_manifests_and_foreign_folders(tmp_path):
    manifest = Manifest(tmp_path, SETTINGS)
    for text in ('{"settings": ', '[]', '{}'):
        manifest.path.write_text(text)
        with pytest.raises(ManifestError, match=r'manifest\.json is damaged'):
            manifest.read()
    manifest.path.unlink()
    assert manifest.read() is None
    (tmp_path / 'SegmentationClass' / 'a').mkdir(parents=True)
    (tmp_path / 'SegmentationClass' / 'a' / '1.png').touch()
    with pytest.raises(ManifestError, match=r'has masks but no manifest\.json: choose another --out'):
        manifest.read()


def test_hash_of_a_file(tmp_path):
    content = b'weights' * 300_000
    (tmp_path / 'net.pth').write_bytes(content)
    assert file_sha256(tmp_path / 'net.pth') == hashlib.sha256(content).hexdigest()
