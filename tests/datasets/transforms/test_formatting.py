"""Packed samples carry labels, boxes and views."""

import numpy as np

from mmseg_wsss.datasets.transforms import PackWSSSInputs
from mmseg_wsss.structures import image_scores


def test_views_become_a_dict_of_tensors(coordinates):
    image, other = coordinates(4, 5), coordinates(4, 5)[:, ::-1]
    packed = PackWSSSInputs()({'img': image, 'views': {'global_view': other, 'local_view': image + 1}})
    assert list(packed['inputs']) == ['img', 'global_view', 'local_view']
    np.testing.assert_array_equal(packed['inputs']['img'].numpy(), image.transpose(2, 0, 1))
    np.testing.assert_array_equal(packed['inputs']['global_view'].numpy(), other.transpose(2, 0, 1))
    np.testing.assert_array_equal(packed['inputs']['local_view'].numpy(), (image + 1).transpose(2, 0, 1))


def test_without_views_the_input_is_plain(coordinates):
    image = coordinates(4, 5)
    for results in ({'img': image}, {'img': image, 'views': {}}):
        packed = PackWSSSInputs()(results)
        np.testing.assert_array_equal(packed['inputs'].numpy(), image.transpose(2, 0, 1))
        assert 'gt_score' not in packed['data_samples']
        assert 'gt_sem_seg' not in packed['data_samples']


def test_label_mask_and_meta(coordinates):
    results = {
        'img': coordinates(2, 2),
        'img_path': 'a/b.jpg',
        'valid_box': (0, 2, 1, 2),
        'gt_label': np.array([1, 3]),
        'gt_score': np.array([0, 1, 0, 1], dtype=np.float32),
        'gt_seg_map': np.array([[0, 2], [255, 4]], dtype=np.uint8),
    }
    sample = PackWSSSInputs()(results)['data_samples']
    assert sample.gt_label.tolist() == [1, 3]
    assert sample.gt_score.tolist() == [0.0, 1.0, 0.0, 1.0]
    assert image_scores([sample, sample]).tolist() == [[0, 1, 0, 1]] * 2
    assert sample.gt_sem_seg.data.tolist() == [[[0, 2], [255, 4]]]
    assert sample.metainfo == {'img_path': 'a/b.jpg', 'valid_box': (0, 2, 1, 2)}


def test_background_only_label_is_kept(coordinates):
    sample = PackWSSSInputs()({'img': coordinates(2, 2), 'gt_score': np.zeros(3, dtype=np.float32)})['data_samples']
    assert sample.gt_label.tolist() == []
    assert sample.gt_score.tolist() == [0.0, 0.0, 0.0]
