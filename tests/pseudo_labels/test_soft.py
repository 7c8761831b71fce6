"""Soft scores on disk: what comes back, how far off, and what is refused."""

import numpy as np
import pytest

from mmseg_wsss.pseudo_labels import load_soft_scores, write_soft_scores


@pytest.mark.parametrize('highest', [0.02, 1.0, 3.7])
def test_round_trip_is_half_a_step_off_at_most(tmp_path, highest):
    scores = np.random.default_rng(0).random((3, 9, 7)).astype(np.float32) * np.float32(highest)
    write_soft_scores(tmp_path / 'a' / 'one.npz', np.array([0, 4, 20]), scores)
    ids, loaded = load_soft_scores(tmp_path / 'a' / 'one.npz')
    assert ids.tolist() == [0, 4, 20]
    assert loaded.dtype == np.float32
    step = scores.max() / 255
    assert 0.4 * step < np.abs(loaded - scores).max() <= 0.5001 * step
    assert loaded.max() == pytest.approx(scores.max(), rel=1e-6)


def test_classes_without_scores_are_left_out(tmp_path):
    scores = np.zeros((3, 2, 2), np.float32)
    scores[2, 0, 1] = 0.5
    scores[0, 1, 1] = 1e-4  # less than half a step
    write_soft_scores(tmp_path / 'one.npz', np.array([0, 4, 20]), scores)
    ids, loaded = load_soft_scores(tmp_path / 'one.npz')
    assert ids.tolist() == [20]
    np.testing.assert_allclose(loaded, scores[2:], rtol=1e-6)
    write_soft_scores(tmp_path / 'none.npz', np.array([0, 4, 20]), 0 * scores)
    ids, loaded = load_soft_scores(tmp_path / 'none.npz')
    assert (ids.size, loaded.shape) == (0, (0, 2, 2))


def test_equal_scores_make_equal_files(tmp_path):
    scores = np.random.default_rng(0).random((2, 5, 5))
    for name in ('a', 'b'):
        write_soft_scores(tmp_path / f'{name}.npz', np.array([0, 1]), scores)
    assert (tmp_path / 'a.npz').read_bytes() == (tmp_path / 'b.npz').read_bytes()


@pytest.mark.parametrize('value', [-0.1, np.nan, np.inf])
def test_what_is_no_score(tmp_path, value):
    with pytest.raises(ValueError, match=r'one\.npz: soft scores must be numbers >= 0, got'):
        write_soft_scores(tmp_path / 'one.npz', np.array([1]), np.full((1, 2, 2), value))
    assert list(tmp_path.iterdir()) == []


def test_no_code_of_a_file_runs(tmp_path, code_that_writes):
    code, written = code_that_writes
    np.savez(tmp_path / 'code.npz', ids=np.array([code]), values=np.zeros((1, 2, 2), np.uint8), scale=np.float32(1))
    with pytest.raises(ValueError, match=r'code\.npz: not a file of soft scores'):
        load_soft_scores(tmp_path / 'code.npz')
    assert not written.exists()


def test_files_that_hold_something_else(tmp_path):
    np.savez(tmp_path / 'other.npz', a=np.zeros(3))
    np.savez(tmp_path / 'pickle.npz', ids=np.array([{}]), values=np.zeros(1), scale=1)
    (tmp_path / 'cut.npz').write_bytes((tmp_path / 'other.npz').read_bytes()[:50])
    write_soft_scores(tmp_path / 'damaged.npz', np.array([1]), np.random.default_rng(0).random((1, 40, 40)))
    content = bytearray((tmp_path / 'damaged.npz').read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / 'damaged.npz').write_bytes(content)
    for name in ('other', 'pickle', 'cut', 'damaged'):
        with pytest.raises(ValueError, match=rf'{name}\.npz: not a file of soft scores from make_pseudo_labels\.py'):
            load_soft_scores(tmp_path / f'{name}.npz')
    with pytest.raises(FileNotFoundError):
        load_soft_scores(tmp_path / 'absent.npz')
