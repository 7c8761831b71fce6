import re

import pytest
from mmengine.runner import Runner
from toy_runs import CLASSES, stage1_config


def test_another_number_of_classes_is_refused_before_the_first_iteration(tmp_path):
    cfg = stage1_config(tmp_path)
    cfg.custom_hooks = [dict(type='ClassCountHook')]
    cfg.experiment_name = str(tmp_path)
    dataset = cfg.train_dataloader.dataset
    dataset.classes, dataset.image_labels.ignore_tags = CLASSES[:2], CLASSES[2:]
    runner = Runner.from_cfg(cfg)
    message = (
        'the network has 4 classes, the training set 3, both with background (background, red, green): set '
        'model.num_classes to 2 (in a network without that key, decode_head.num_classes to 3), or '
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        runner.train()
    assert runner.iter == 0
