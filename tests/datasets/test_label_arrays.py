"""Label arrays that are wrong are refused with the array and the row."""

import pickle

import numpy as np
import pytest

from mmseg_wsss.datasets.image_labels import ImageLabelError, LabelArrays

CLASSES = ('cat', 'dog', 'traffic light')
CONTENT = {
    'names': ['a', 'b', 'sub/c'],
    'labels': np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]], np.uint8),
    'classes': ['dog', 'traffic light', 'cat'],  # not in the order of CLASSES
}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'names': np.array(['a', 'b', 'c'], object)}, 'pickled objects are refused'),
        ({'names': np.arange(3)}, 'names and classes should be 1-D text arrays'),
        ({'classes': np.arange(3)}, 'names and classes should be 1-D text arrays'),
        ({'names': np.array([['a'], ['b'], ['c']])}, 'names and classes should be 1-D text arrays'),
        ({'classes': np.array([['dog', 'traffic light', 'cat']])}, 'names and classes should be 1-D text arrays'),
        ({'labels': np.array([['1'] * 3] * 3)}, r'should be numbers of shape \(3, 3\)'),
        ({'labels': np.zeros((2, 3))}, r'shape \(3, 3\), names x classes, but are float64 \(2, 3\)'),
        ({'labels': np.eye(3) * [1, 1, 2]}, r'labels\[2\] \(sub/c\): has values other than 0 and 1'),
        ({'names': np.array(['a', 'b', 'a.jpg'])}, r"names\[2\]: 'a.jpg' is labelled already in .*names\[0\]"),
    ],
)
def test_arrays_that_are_wrong(change, message, tmp_path):
    path = tmp_path / 'labels.npz'
    np.savez(path, **{**CONTENT, **change})
    with pytest.raises(ImageLabelError, match=message):
        LabelArrays(path=path).load(CLASSES)


def test_rows_are_names_and_columns_are_classes(tmp_path):
    path = tmp_path / 'labels.npz'
    np.savez(path, **CONTENT | dict(names=['a', 'b'], labels=np.array([[1, 0, 1], [0, 1, 0]])))
    labels = LabelArrays(path=path).load(CLASSES)
    assert {name: list(tags) for name, tags in labels.items()} == {'a': [0, 1], 'b': [2]}
    np.savez(path, **CONTENT | dict(names=['a', 'b'], labels=np.array([[1, 0, 1], [0, 1, 0]]).T))
    with pytest.raises(ImageLabelError, match=r'shape \(2, 3\), names x classes, but are int64 \(3, 2\)'):
        LabelArrays(path=path).load(CLASSES)


def test_no_code_of_a_file_runs(tmp_path, code_that_writes):
    code, written = code_that_writes
    np.savez(tmp_path / 'labels.npz', **{**CONTENT, 'labels': np.array([[code] * 3] * 3)})
    with pytest.raises(ImageLabelError, match='pickled objects are refused'):
        LabelArrays(path=tmp_path / 'labels.npz').load(CLASSES)
    assert not written.exists()


def test_pickles_and_incomplete_archives_are_refused(tmp_path):
    path = tmp_path / 'labels.npz'
    np.savez(path, names=['a'])
    with pytest.raises(ImageLabelError, match='an array is missing: labels'):
        LabelArrays(path=path).load(CLASSES)
    path.write_bytes(pickle.dumps({'a': [1, 0, 0]}))
    with pytest.raises(ImageLabelError, match=r'pickled objects are refused\); write it with np\.savez'):
        LabelArrays(path=path).load(CLASSES)
    with path.open('wb') as file:
        np.save(file, np.eye(3))
    with pytest.raises(ImageLabelError, match=r'not an \.npz'):
        LabelArrays(path=path).load(CLASSES)
