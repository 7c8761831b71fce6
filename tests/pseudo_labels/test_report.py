"""What a run says of itself."""

import json

from mmseg_wsss.pseudo_labels import Unreadable, write_report


def test_report(tmp_path):
    skipped = [Unreadable('x.png', 'x.png: cut off')]
    text = write_report(tmp_path, total=30, written=20, before=9, skipped=skipped, seconds=8.0)
    assert text.endswith('in 8.0 s (2.50 images/s), 9 were there before\n1 images were SKIPPED:\n  x.png: cut off')
    record = json.loads((tmp_path / 'report.json').read_text())
    assert record == {
        'images': 30,
        'there_before': 9,
        'written': 20,
        'seconds': 8.0,
        'images_per_second': 2.5,
        'skipped': [{'path': 'x.png', 'error': 'x.png: cut off'}],
    }
