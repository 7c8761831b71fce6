"""Shards of tools/make_pseudo_labels.py: the files of one run, and a merge that misses nothing."""

import json
import shutil
from pathlib import Path

import pytest
from colour_net import make_data
from tool_module import load_tool

from mmseg_wsss.pseudo_labels import ManifestError, Shard

COUNT = 7
SHARDS = ('1/3', '2/3', '3/3')
OPTIONS = ['--threshold', '0.6', '--soft', '--cfg-options', 'test_dataloader.dataset.ann_file=']
NAMES = ['a/0', 'a/2', 'a/4', 'a/6', 'b/1', 'b/3', 'b/5']  # sorted: of 3 shards a/0 a/6 b/5, a/2 b/1, a/4 b/3


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp('shards') / 'data', count=COUNT)


@pytest.fixture(scope='module')
def make(data):
    """Run the tool; gives its exit status."""
    tool = load_tool('make_pseudo_labels.py')

    def run(out, *options):
        return tool.main([str(data / 'ColourCAM.py'), str(data / 'net.pth'), '--out', str(out), *options, *OPTIONS])

    return run


@pytest.fixture(scope='module')
def merge():
    tool = load_tool('merge_pseudo_labels.py')
    return lambda out: tool.main([str(out)])


@pytest.fixture
def out(make, tmp_path):
    """A folder that three shards have filled, in an order of their own."""
    for shard in ('3/3', '1/3', '2/3'):
        assert make(tmp_path / 'out', '--shard', shard) == 0
    return tmp_path / 'out'


def contents(out: Path) -> dict[str, bytes]:
    """Every file but the reports, which hold times, and the locks."""
    files = [path for path in out.rglob('*') if path.is_file() and not path.name.startswith(('report', '.lock'))]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def report(path: Path) -> dict:
    return json.loads(path.read_text())


def test_shards_in_any_order_make_the_files_of_one_run(out, make, merge, tmp_path, capsys):
    assert make(tmp_path / 'whole') == 0
    assert contents(out) == contents(tmp_path / 'whole')
    assert len(contents(out)) == 2 * COUNT + 1, 'masks, scores, the manifest and no leftover'
    parts = [report(out / f'report-{number}-of-3.json') for number in (1, 2, 3)]
    assert [part['masks'] for part in parts] == [NAMES[0::3], NAMES[1::3], NAMES[2::3]]
    assert [(part['images'], part['written'], part['there_before']) for part in parts] == [
        (3, 3, 0),
        (2, 2, 0),
        (2, 2, 0),
    ]
    assert {part['manifest'] for part in parts} == {report(out / 'manifest.json')['sha256']}

    assert not (out / 'report.json').exists()
    assert merge(out) == 0
    assert f'{COUNT} masks written to {out}' in capsys.readouterr().out
    whole = report(out / 'report.json')
    assert [whole[key] for key in ('images', 'written', 'there_before', 'skipped', 'shards')] == [
        COUNT,
        COUNT,
        0,
        [],
        3,
    ]


def test_a_folder_per_shard_copied_into_one(out, make, merge, tmp_path):
    for shard in SHARDS:
        part = tmp_path / shard.replace('/', '-of-')
        assert make(part, '--shard', shard) == 0
        shutil.copytree(part, tmp_path / 'together', dirs_exist_ok=True)
    assert contents(tmp_path / 'together') == contents(out)
    assert merge(tmp_path / 'together') == 0


def test_a_shard_that_is_called_again_does_nothing(out, make, capsys):
    before = {path: path.stat().st_mtime_ns for path in out.rglob('[!.]*')}
    assert make(out, '--shard', '2/3') == 0
    assert f'nothing to do: all 2 masks are in {out}' in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.rglob('[!.]*')} == before


def test_a_shard_killed_before_its_report_writes_it(out, make, merge):
    (out / 'report-2-of-3.json').unlink()
    assert make(out, '--shard', '2/3') == 0
    assert report(out / 'report-2-of-3.json')['there_before'] == 2
    assert merge(out) == 0
    assert report(out / 'report.json')['there_before'] == 2


def test_a_missing_shard_is_named(out, merge, capsys):
    (out / 'report-1-of-3.json').unlink()
    (out / 'report-3-of-3.json').unlink()
    assert merge(out) == 1
    assert capsys.readouterr().err == 'error: shards 1/3, 3/3 did not finish: run --shard with it (again)\n'
    assert not (out / 'report.json').exists()


def test_missing_and_damaged_files_are_named_with_their_shard(out, make, merge, capsys):
    (out / 'SegmentationClass/a/2.png').unlink()
    half = (out / 'SegmentationClass/b/1.png').read_bytes()[:60]
    (out / 'SegmentationClass/b/1.png').write_bytes(half)
    (out / 'SoftScores/b/5.npz').unlink()
    assert merge(out) == 1
    assert capsys.readouterr().err.splitlines() == [
        'error: call these shards again:',
        'shard 1/3: missing or damaged: b/5',
        'shard 2/3: missing or damaged: a/2, b/1',
    ]
    for shard in SHARDS:
        assert make(out, '--shard', shard) == 0
    assert merge(out) == 0


def test_images_that_no_report_has_are_not_passed_over(out, merge, capsys):
    """Reports of a list that has changed since: complete in number, but not in what they have."""
    path = out / 'report-2-of-3.json'
    part = report(path)
    for names, found in ((['a/2'], 6), (['a/2', 'a/6'], 6), (['a/2', 'b/1', 'b/7'], 8), (['a/2', 'b/1', 'a/2'], 7)):
        path.write_text(json.dumps(part | {'masks': names}))
        assert merge(out) == 1
        assert capsys.readouterr().err == f'error: the shards in {out} have {found} images, the manifest 7\n'
    path.write_text(json.dumps(part | {'masks': ['a/2'], 'skipped': [{'path': 'b/1.png', 'error': 'damaged'}]}))
    assert merge(out) == 1, 'an image was skipped'
    assert report(out / 'report.json')['images'] == 7


def test_of_many_missing_masks_five_are_named(make, merge, tmp_path, capsys):
    assert make(tmp_path, '--shard', '1/1') == 0
    for name in NAMES:
        (tmp_path / f'SegmentationClass/{name}.png').unlink()
    assert merge(tmp_path) == 1
    assert capsys.readouterr().err.splitlines()[1:] == [
        'shard 1/1: missing or damaged: a/0, a/2, a/4, a/6, b/1 and 2 more'
    ]


def test_skipped_images_stay_named(data, make, merge, tmp_path, capsys):
    path = data / 'images/b/1.png'
    good = path.read_bytes()
    path.write_bytes(good[:100])
    try:
        assert [make(tmp_path / 'out', '--shard', shard) for shard in SHARDS] == [0, 1, 0]
    finally:
        path.write_bytes(good)
    assert merge(tmp_path / 'out') == 1
    assert f'1 images were SKIPPED:\n  {path}: cannot be read' in capsys.readouterr().err
    assert [one['path'] for one in report(tmp_path / 'out/report.json')['skipped']] == [str(path)]


def test_shards_of_different_jobs_are_not_mixed(out, make, merge, capsys):
    with pytest.raises(ManifestError, match='mask_by_labels: true there, false now'):
        make(out, '--shard', '1/3', '--all-classes')
    other = {**report(out / 'report-2-of-3.json'), 'manifest': '0'}
    (out / 'report-2-of-3.json').write_text(json.dumps(other))
    assert merge(out) == 1
    assert f'shard 2/3 used settings other than those of {out}/manifest.json' in capsys.readouterr().err
    (out / 'report-4-of-4.json').write_text('{}')
    assert merge(out) == 1
    assert 'has reports of 3 and of 4 shards: keep those of one division' in capsys.readouterr().err


def test_a_folder_without_pseudo_labels(merge, tmp_path, capsys):
    assert merge(tmp_path) == 1
    assert f'{tmp_path} is not a folder of pseudo-labels' in capsys.readouterr().err


def test_a_shard_leaves_the_unfinished_files_of_others_alone(out, make):
    mine, other = out / 'SegmentationClass/b/.1.part-4711.png', out / 'SegmentationClass/b/.3.part-4711.png'
    for path in (mine, other):
        path.write_bytes(b'half')
    make(out, '--shard', '2/3')
    assert (mine.exists(), other.exists()) == (False, True)


def test_more_shards_than_images(make, merge, tmp_path, capsys):
    out = tmp_path / 'out'
    assert [make(out, '--shard', f'{number}/8') for number in range(8, 0, -1)] == [0] * 8
    assert report(out / 'report-8-of-8.json')['masks'] == []
    assert merge(out) == 0
    capsys.readouterr()
    assert make(out, '--shard', '8/8') == 0
    assert 'nothing to do: all 0 masks' in capsys.readouterr().out


@pytest.mark.parametrize('text', ['0/3', '4/3', '2', '2/0', '-1/3', 'a/b', '1/3 '])
def test_what_a_shard_cannot_be(make, tmp_path, capsys, text):
    with pytest.raises(SystemExit):
        make(tmp_path / 'out', f'--shard={text}')
    assert f'--shard must be I/N with I in 1..N, for example 2/3, got {text!r}' in capsys.readouterr().err


def test_the_sweep_is_done_before(data, capsys):
    files = [str(data / 'ColourCAM.py'), str(data / 'net.pth')]
    with pytest.raises(SystemExit):
        load_tool('make_pseudo_labels.py').parse_args([*files, '--out', 'out', '--sweep', '--shard', '1/3'])
    assert 'sweep once without --shard, and pass its --threshold' in capsys.readouterr().err


def test_every_image_is_in_one_shard_of_nearly_equal_size():
    names = [Path(f'{number * 7 % 23}') for number in range(23)]
    for count in (1, 2, 5, 23, 30):
        shards = [Shard(number + 1, count).indices(names) for number in range(count)]
        assert sorted(index for shard in shards for index in shard) == list(range(23))
        assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert [names[index].name for index in Shard(1, 5).indices(names)] == ['0', '13', '18', '22', '7']
