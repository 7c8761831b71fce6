"""Files of text embeddings: what is read, normalised and refused."""

import numpy as np
import pytest

from mmseg_wsss.checkpoints.text_embeddings import read_text_embeddings, write_text_embeddings


def test_what_is_written_is_read_as_unit_vectors(tmp_path):
    write_text_embeddings(tmp_path / 'new' / 'text.npz', {'cat': np.array([3.0, 4.0]), ' sofa ': np.array([0.0, -2.0])})
    found = read_text_embeddings(tmp_path / 'new' / 'text.npz')
    assert list(found) == ['cat', 'sofa']
    np.testing.assert_allclose(found['cat'], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(found['sofa'], [0, -1])
    assert found['cat'].dtype == np.float32
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['text.npz']


@pytest.mark.parametrize(
    ('arrays', 'message'),
    [
        (dict(names=np.array(['a'])), r'text\.npz is not a file of text embeddings .*embedding'),
        (dict(names=np.array(['a'], object), embedding=np.ones((1, 2))), r'text\.npz is not a file of text embeddings'),
        (dict(names=np.array([1]), embedding=np.ones((1, 2))), r'names should be n texts .* int64 \(1,\)'),
        (dict(names=np.array(['a', 'b']), embedding=np.ones((1, 2))), r'<U1 \(2,\) and float64 \(1, 2\)'),
        (dict(names=np.array(['a']), embedding=np.ones(2)), r'float64 \(2,\)'),
        (dict(names=np.array(['a']), embedding=np.ones((1, 2), int)), r'int64 \(1, 2\)'),
        (dict(names=np.array(['a']), embedding=np.zeros((1, 2))), 'an embedding is 0 or not finite'),
        (dict(names=np.array(['a']), embedding=np.array([[1.0, np.nan]])), 'an embedding is 0 or not finite'),
    ],
)
def test_what_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / 'text.npz', **arrays)
    with pytest.raises(ValueError, match=message):
        read_text_embeddings(tmp_path / 'text.npz')


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_text_embeddings(tmp_path / 'text.npz')
