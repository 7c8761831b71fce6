"""The head of class names: probabilities by hand, synonyms, and what is refused."""

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS

from mmseg_wsss.checkpoints.text_embeddings import write_text_embeddings

VECTORS = {'cat': [1, 0], 'dog': [0, 1], 'puppy': [0.6, 0.8], 'sky': [-1, 0], 'sea': [0, -1]}


@pytest.fixture
def file(tmp_path):
    write_text_embeddings(tmp_path / 'text.npz', {name: np.array(row, float) for name, row in VECTORS.items()})
    return str(tmp_path / 'text.npz')


def build(file, **changes):
    values = dict(classes=['cat', 'dog'], background=['sky'], embeddings=file, in_channels=2, scale=3.0)
    head = MODELS.build(dict(type='TextCAMHead') | values | changes)
    with torch.no_grad():
        head.projection.weight.copy_(torch.eye(2))
    return head


def test_probabilities_by_hand(file):
    tokens = torch.tensor([[5.0, 0.0], [0.6, 0.8]])
    found = build(file)(tokens, torch.tensor([[True, True], [False, True]]))
    powers = np.exp([3, 0, -3])  # cosines with cat, dog and sky
    np.testing.assert_allclose(found[0].detach(), powers[:2] / powers.sum(), rtol=1e-5)
    powers = np.exp([3 * 0.8, -3 * 0.6])  # dog and sky alone
    np.testing.assert_allclose(found[1].detach(), [0, powers[0] / powers.sum()], rtol=1e-5)


def test_synonyms_are_one_class_with_the_mean_embedding(file):
    head = build(file, synonyms=dict(dog=['dog', 'puppy']))
    mean = np.array([0.3, 0.9])
    np.testing.assert_allclose(head.text[1], mean / np.linalg.norm(mean), rtol=1e-6)
    assert head.num_classes == 2


def test_the_first_file_with_a_name_counts(file, tmp_path):
    write_text_embeddings(tmp_path / 'more.npz', {'cat': np.array([0.0, 1.0]), 'tree': np.array([1.0, 0.0])})
    head = build([file, str(tmp_path / 'more.npz')], background=['tree'])
    np.testing.assert_allclose(head.text, [[1, 0], [0, 1], [1, 0]])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(classes=['cat', 'horse']),
            r'no text embedding of horse in .*python tools/make_text_embeddings\.py CONFIG',
        ),
        (dict(background=[]), r'cam_head\.background is empty'),
        (dict(synonyms=dict(cat='dog')), r'cam_head\.synonyms of cat must be a list of names'),
        (dict(synonyms=dict(cat=[])), r'cam_head\.synonyms of cat must be a list of names'),
        (dict(synonyms=dict(cow=['cat'])), r'cam_head\.synonyms has cow, but the classes are cat, dog'),
        (dict(background=['sky', 'cat']), r'cam_head\.background has cat, which also stand for a class'),
        (dict(synonyms=dict(cat=['sky'])), 'background has sky, which also stand for a class'),
    ],
)
def test_what_is_refused(file, changes, message):
    with pytest.raises(ValueError, match=message):
        build(file, **changes)


def test_a_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no file .*gone\.npz\. .*tools/make_text_embeddings\.py CONFIG'):
        build(str(tmp_path / 'gone.npz'))


def test_the_default_scale_is_that_of_clip(file):
    head = MODELS.build(dict(type='TextCAMHead', classes=['cat'], background=['sky'], embeddings=file, in_channels=2))
    assert head.scale == 100


def test_files_of_two_encoders_are_refused(file, tmp_path):
    write_text_embeddings(tmp_path / 'more.npz', {'tree': np.ones(3)})
    with pytest.raises(ValueError, match='have different lengths: use one text encoder'):
        build([file, str(tmp_path / 'more.npz')])
