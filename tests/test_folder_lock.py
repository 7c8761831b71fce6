"""An output folder belongs to one run, which removes what a killed one left."""

import errno
import fcntl
import os
import socket
import sys

import pytest
from held_folder import REFUSED, held_elsewhere

from mmseg_wsss import folder_lock
from mmseg_wsss.fileio import whole_file
from mmseg_wsss.folder_lock import FolderInUseError, locked_folder, output_folder


def make(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('half')
    return path


def test_the_lock_file_names_who_held_it_last(tmp_path):
    for _ in range(2):  # longer texts are replaced
        with locked_folder(tmp_path / 'new' / 'out') as held:
            assert held is True
    assert (tmp_path / 'new/out/.lock').read_text() == f'process {os.getpid()} on {socket.gethostname()}'


def test_a_second_run_is_refused_until_the_first_is_killed(tmp_path):
    with held_elsewhere(tmp_path) as process:
        with pytest.raises(FolderInUseError) as caught, locked_folder(tmp_path):
            pass
        assert str(caught.value) == f'{tmp_path} {REFUSED}'
        process.kill()
        process.wait()
        with locked_folder(tmp_path) as held:
            assert held


@pytest.mark.parametrize(('theirs', 'ours', 'refused'), [(1, 1, False), (1, 0, True), (0, 1, True), (0, 0, True)])
def test_who_can_share(tmp_path, theirs, ours, refused):
    with held_elsewhere(tmp_path, shared=bool(theirs)):
        try:
            with locked_folder(tmp_path, shared=bool(ours)) as held:
                assert held
                assert not refused
        except FolderInUseError:
            assert refused


def test_locks_of_other_names_do_not_meet(tmp_path):
    with held_elsewhere(tmp_path, '.lock-1-of-2'), locked_folder(tmp_path, name='.lock-2-of-2') as held:
        assert held


def test_an_unknown_holder(tmp_path):
    with held_elsewhere(tmp_path):
        (tmp_path / '.lock').write_text('')
        with pytest.raises(FolderInUseError, match='is in use by another process: '), locked_folder(tmp_path):
            pass


def test_without_locks_the_run_goes_on_and_removes_nothing(tmp_path, monkeypatch, capsys):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, 'No locks available')

    left = make(tmp_path / '.a.part-1.png')
    monkeypatch.setattr(fcntl, 'lockf', no_locks)
    with locked_folder(tmp_path) as held:
        assert held is False
    with output_folder(tmp_path):
        assert left.exists()
    note = f'NOTE: {tmp_path} cannot be locked ([Errno {errno.ENOLCK}] No locks available): see to it yourself'
    assert capsys.readouterr().err.startswith(note)
    assert (tmp_path / '.lock').read_text() == '', 'nobody holds it'
    monkeypatch.setattr(folder_lock, 'fcntl', None)
    with output_folder(tmp_path):
        assert left.exists()


def test_what_a_killed_run_left_is_removed(tmp_path):
    kept = [
        make(tmp_path / name)
        for name in ('a.png', 'a.part-1.png', '.a.1.png', '.hidden', '.part-1.png', 'labels/.lock')
    ]
    kept += [make(tmp_path / 'labels/.a.part-1.png'), make(tmp_path / 'labels/sub/.a.part-1.png')]  # held by others
    with whole_file(tmp_path / 'sub' / 'b.c.json') as temporary:
        temporary.write_text('')
        left = [temporary, make(tmp_path / '.a.part-1.png'), make(tmp_path / '.a.part-12'), make(tmp_path / '.lock')]
        with output_folder(tmp_path):
            assert [path for path in left if path.exists()] == [tmp_path / '.lock']
        temporary.write_text('')
    assert all(path.exists() for path in kept)


def test_an_error_of_the_run_is_its_own_and_ends_the_lock(tmp_path):
    with pytest.raises(ValueError, match='mine'), output_folder(tmp_path):
        raise ValueError('mine')
    code = 'import fcntl,sys; fcntl.lockf(open(sys.argv[1], "a+"), fcntl.LOCK_EX | fcntl.LOCK_NB)'
    assert os.spawnl(os.P_WAIT, sys.executable, 'python', '-S', '-c', code, str(tmp_path / '.lock')) == 0
