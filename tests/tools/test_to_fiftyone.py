"""tools/analysis_tools/to_fiftyone.py: samples by hand, and a data set where FiftyOne finds a database."""

import shutil

import numpy as np
import pytest
from tool_module import load_tool

from mmseg_wsss.visualization import Picture

try:
    import fiftyone as fo
except (
    ImportError,
    KeyError,
) as error:  # KeyError: imported after importlib_metadata, run `python -c "import fiftyone, pytest ..."`
    pytest.skip(f'the extra `fiftyone` is not installed, or cannot be imported: {error!r}', allow_module_level=True)
MASK = np.array([[0, 1], [255, 2]])
CAM = np.array([[[0.0, 0.5], [0, 1]], [[0.25, 0], [0, 0]]])


@pytest.fixture(scope='module')
def tool():
    return load_tool('analysis_tools/to_fiftyone.py')


def test_a_sample_by_hand(tool, tmp_path):
    (tmp_path / 'a.jpg').touch()
    picture = Picture(path=str(tmp_path / 'a.jpg'), tags=['big dog'], cam=CAM, prediction=MASK, truth=MASK, iou=61.5)
    sample = tool.sample_of(picture, ['background', 'cat', 'big dog'])
    assert sample.filepath == str(tmp_path / 'a.jpg')
    assert [one.label for one in sample.image_labels.classifications] == ['big dog']
    np.testing.assert_array_equal(sample.cam_big_dog.map, CAM[1])
    assert sample.cam_big_dog.range == [0, 1]
    np.testing.assert_array_equal(sample.prediction.mask, MASK)
    assert sample.ground_truth.mask.dtype == np.uint8
    assert sample.mIoU == 61.5
    assert not {'cam_cat', 'pseudo_label'} & set(sample.field_names)


def test_a_data_set(tool, toy, tmp_path, capsys):
    try:
        fo.list_datasets()
    except fo.core.config.FiftyOneConfigError as error:
        pytest.skip(f'FiftyOne has no database: {error}')
    shutil.copy(toy / 'toy.py', tmp_path)
    shutil.copy(toy / 'toy.pth', tmp_path / 'iter_40.pth')
    (tmp_path / 'last_checkpoint').write_text('iter_40.pth')
    tool.main([str(tmp_path), '--name', 'mmseg_wsss_test'])
    try:
        dataset = fo.load_dataset('mmseg_wsss_test')
        assert len(dataset) == 3
        found = dataset.evaluate_segmentations('prediction', gt_field='ground_truth').metrics()
        assert 0 <= found['accuracy'] <= 1
        with pytest.raises(SystemExit, match='FiftyOne has a data set mmseg_wsss_test already'):
            tool.main([str(tmp_path), '--name', 'mmseg_wsss_test'])
    finally:
        fo.delete_dataset('mmseg_wsss_test')
