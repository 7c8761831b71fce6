"""Masks on disk: ids, colours, names, and what is refused."""

import numpy as np
import pytest
import torch
from mmseg.registry import METRICS
from PIL import Image

from mmseg_wsss.datasets.mask_files import write_mask


def sample(path, mask):
    return {'img_path': path, 'pred_sem_seg': {'data': torch.as_tensor(mask)[None]}}


def test_ids_and_colours_come_back(tmp_path):
    writer = METRICS.build({'type': 'MaskWriter', 'out_dir': str(tmp_path / 'masks')})
    writer.dataset_meta = {'classes': ('background', 'cat'), 'palette': [[1, 2, 3], [40, 50, 60]]}
    mask = np.array([[0, 1, 1], [255, 0, 1]])
    writer.process({}, [sample('/data/a/first.jpg', mask), sample('/data/a/second.x.png', 1 - (mask > 0))])
    assert writer.evaluate(2) == {}
    assert sorted(path.name for path in (tmp_path / 'masks').iterdir()) == ['first.png', 'labelmap.txt', 'second.x.png']
    assert (tmp_path / 'masks' / 'labelmap.txt').read_text().splitlines()[1:] == [
        'background:1,2,3::',
        'cat:40,50,60::',
    ]
    with Image.open(tmp_path / 'masks' / 'first.png') as image:
        assert image.mode == 'P'
        assert np.array_equal(np.array(image), mask)
        assert np.array(image.convert('RGB'))[0, :2].tolist() == [[1, 2, 3], [40, 50, 60]]
        assert np.array(image.convert('RGB'))[1, 0].tolist() == [224, 224, 192]


def test_two_images_of_one_name_are_refused(tmp_path):
    writer = METRICS.build({'type': 'MaskWriter', 'out_dir': str(tmp_path)})
    writer.dataset_meta = {'classes': ('background', 'cat')}
    mask = np.zeros((2, 2), int)
    writer.process({}, [sample('a/one.jpg', mask), sample('a/one.jpg', mask)])  # a padded repetition is none
    with pytest.raises(ValueError, match=r'b/one\.jpg and a/one\.jpg would both be written to .*one\.png.*img_root'):
        writer.process({}, [sample('b/one.jpg', mask)])


def test_masks_below_an_image_folder_keep_their_place(tmp_path):
    writer = METRICS.build({'type': 'MaskWriter', 'out_dir': str(tmp_path), 'img_root': 'photos/../photos/images'})
    writer.dataset_meta = {'classes': ('background', 'cat')}
    paths = ['photos/images/a/IMG_1.jpg', 'photos/images/b/IMG_1.jpg', 'photos/images/x.y.png']
    writer.process({}, [sample(path, np.full((2, 2), number)) for number, path in enumerate(paths)])
    for number, name in enumerate(['a/IMG_1.png', 'b/IMG_1.png', 'x.y.png']):
        assert np.array(Image.open(tmp_path / name)).tolist() == [[number] * 2] * 2
    with pytest.raises(ValueError, match=r'b/IMG_1\.gif and photos/images/b/IMG_1\.jpg would both .*IMG_1\.png'):
        writer.process({}, [sample('photos/images/b/IMG_1.gif', np.zeros((2, 2), int))])


@pytest.mark.parametrize('path', ['photos/other/1.jpg', 'photos/images/../1.jpg', '/1.jpg', 'photos/images'])
def test_masks_never_leave_their_folder(tmp_path, path):
    writer = METRICS.build({'type': 'MaskWriter', 'out_dir': str(tmp_path / 'out'), 'img_root': 'photos/images'})
    writer.dataset_meta = {'classes': ('background', 'cat')}
    with pytest.raises(ValueError, match=r'is not below img_root photos/images'):
        writer.process({}, [sample(path, np.zeros((2, 2), int))])
    assert list(tmp_path.iterdir()) == []


def test_ids_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r'holds the ids 0\.\.255, got 0\.\.300'):
        write_mask(tmp_path / 'mask.png', np.array([[0, 300]]))
    assert list(tmp_path.iterdir()) == []


def test_failed_writing_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr('os.replace', lambda *_: (_ for _ in ()).throw(OSError('full')))
    with pytest.raises(OSError, match='full'):
        write_mask(tmp_path / 'mask.png', np.zeros((2, 2), int))
    assert list(tmp_path.iterdir()) == []
