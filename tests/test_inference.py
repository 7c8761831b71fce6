"""mmseg's own ways to predict one image work with our configs: ``inference_model`` and ``MMSegInferencer``."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.apis import MMSegInferencer, inference_model, init_model
from mmseg.registry import MODELS
from PIL import Image

from mmseg_wsss.checkpoints import checked
from mmseg_wsss.datasets.transforms import read_image

CONFIGS = Path(__file__).parents[1] / 'configs'
DEMOS = [
    'toco/toco_vit-demo_drawn-scenes.py',
    'weaktr/weaktr-cam_vit-demo_drawn-scenes.py',
    'weaktr/weaktr-seg_vit-demo_drawn-scenes.py',
]


@pytest.fixture(params=DEMOS)
def files(request, tmp_path) -> tuple[str, str, str]:
    """Config, checkpoint and a transparent image, over white as ``LoadImage`` shows it."""
    cfg = Config.fromfile(CONFIGS / request.param)
    cfg.model.backbone.init_cfg = None
    cfg.dump(tmp_path / 'demo.py')
    init_default_scope('mmseg')
    meta = dict(dataset_meta=dict(classes=('background', *cfg.classes), palette=[[0, 0, 0]] * 7))
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta=meta), tmp_path / 'demo.pth')
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 4), dtype=np.uint8)
    Image.fromarray(pixels, 'RGBA').save(tmp_path / 'image.png')
    return str(tmp_path / 'demo.py'), checked(tmp_path / 'demo.pth'), str(tmp_path / 'image.png')


def test_files_and_arrays_give_the_same_mask(files):
    config, checkpoint, image = files
    model = init_model(config, checkpoint, device='cpu')
    expected = inference_model(model, image).pred_sem_seg.data[0].numpy()
    assert expected.shape == (64, 48)
    assert len(np.unique(expected)) > 1
    array = read_image(image)
    assert np.array_equal(inference_model(model, array).pred_sem_seg.data[0].numpy(), expected)

    inferencer = MMSegInferencer(config, checkpoint, device='cpu')
    for given in (image, array):
        assert np.array_equal(inferencer(given)['predictions'], expected)


def test_the_inferencer_reads_files_as_the_test_does(files, tmp_path):
    inferencer = MMSegInferencer(files[0], files[1], device='cpu')
    (tmp_path / 'page.jpg').write_text('too many requests')
    with pytest.raises(ValueError, match=r'page\.jpg: cannot be read as an image'):
        inferencer(str(tmp_path / 'page.jpg'))
