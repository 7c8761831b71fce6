"""A file is there completely or not at all."""

import pytest

from mmseg_wsss.fileio import unwritable, whole_file


def test_the_file_appears_at_the_end_in_a_new_folder(tmp_path):
    target = tmp_path / 'new' / 'folder' / 'a.b.txt'
    with whole_file(str(target)) as temporary:
        temporary.write_text('all of it')
        assert not target.exists()
        assert (temporary.parent, temporary.suffix, temporary.name[0]) == (target.parent, '.txt', '.')
    assert target.read_text() == 'all of it'
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_failure_leaves_nothing(tmp_path, error):
    with pytest.raises(error), whole_file(tmp_path / 'a.txt') as temporary:  # noqa: PT012
        temporary.write_text('half')
        raise error
    assert list(tmp_path.iterdir()) == []


def test_failure_keeps_the_old_file(tmp_path):
    (tmp_path / 'a.txt').write_text('old')
    with pytest.raises(ValueError, match='full'), whole_file(tmp_path / 'a.txt') as temporary:  # noqa: PT012
        temporary.write_text('half')
        raise ValueError('full')
    assert [path.read_text() for path in tmp_path.iterdir()] == ['old']


def test_nothing_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'a\.txt'), whole_file(tmp_path / 'a.txt'):
        pass


def test_an_output_that_can_be_written_is_left_as_it_is(tmp_path):
    assert unwritable(tmp_path / 'new' / 'folder') is None
    assert unwritable(tmp_path / 'new.png', file=True) is None
    assert list(tmp_path.iterdir()) == []


def test_why_an_output_cannot_be_written(tmp_path):
    file = tmp_path / 'a.txt'
    file.write_text('old')
    assert unwritable(file) == f'{file} cannot be written: {file}: Not a directory'
    assert unwritable(file / 'b' / 'c.png', file=True) == f'{file}/b/c.png cannot be written: {file}: Not a directory'
    assert unwritable(tmp_path, file=True) == f'{tmp_path} is a folder: give a file in it'
    assert unwritable('/proc/nowhere/out').startswith('/proc/nowhere/out cannot be written: /proc: ')
