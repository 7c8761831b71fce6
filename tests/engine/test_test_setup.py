"""What a test changes in its config."""

import pytest
from mmengine.config import Config

from mmseg_wsss.engine.test_setup import add_metric, image_folder, use_crf, use_tta


def config(**values) -> Config:
    return Config(
        dict(
            model=dict(type='EncoderDecoder'),
            test_dataloader=dict(dataset=dict(pipeline=['plain'])),
            test_evaluator=dict(type='IoUMetric'),
            tta_model=dict(type='MaxScaleTTA'),
            tta_pipeline=['scaled'],
            **values,
        )
    )


def test_several_scales_keep_the_preprocessor_of_the_top_level():
    """The Runner would give it to the wrapper, whose own replaces the model's."""
    cfg = config(data_preprocessor=dict(type='SegDataPreProcessor', size=(8, 8)))
    use_tta(cfg)
    assert 'data_preprocessor' not in cfg
    assert cfg.model.type == 'MaxScaleTTA'
    assert cfg.model.module.data_preprocessor == dict(type='SegDataPreProcessor', size=(8, 8))
    assert cfg.model.module.test_cfg == dict(mode='whole', cam=False)
    assert cfg.test_dataloader.dataset.pipeline == ['scaled']


def test_several_scales_leave_the_models_own_preprocessor():
    cfg = config(data_preprocessor=dict(size=(8, 8)))
    cfg.model.update(data_preprocessor=dict(size=(4, 4)), test_cfg=dict(mode='slide', cam=True))
    use_tta(cfg)
    assert cfg.model.module.data_preprocessor == dict(size=(4, 4))
    assert cfg.model.module.test_cfg == dict(mode='slide', cam=False)


@pytest.mark.parametrize('missing', ['tta_model', 'tta_pipeline'])
def test_a_config_without_several_scales_is_named(missing):
    cfg = config()
    cfg.pop(missing)
    with pytest.raises(ValueError, match=r'has no tta_model and tta_pipeline'):
        use_tta(cfg)


def test_a_crf_before_the_metrics():
    cfg = config(crf=dict(preset='weaktr-voc'))
    use_crf(cfg, workers=3)
    assert cfg.test_evaluator == dict(
        type='RefiningEvaluator',
        metrics=dict(type='IoUMetric'),
        refiner=dict(type='DenseCRF', preset='weaktr-voc'),
        workers=3,
    )
    add_metric(cfg, dict(type='MaskWriter'))
    assert cfg.test_evaluator.metrics == [dict(type='IoUMetric'), dict(type='MaskWriter')]
    use_crf(cfg)  # again: the metrics stay
    assert cfg.test_evaluator.metrics == [dict(type='IoUMetric'), dict(type='MaskWriter')]
    assert cfg.model.test_cfg.cam is False


def test_an_evaluator_of_somebody_else_is_not_replaced():
    cfg = config()
    cfg.test_evaluator = dict(type='TheirEvaluator', metrics=[])
    with pytest.raises(ValueError, match=r'a CRF replaces the test_evaluator, which is a TheirEvaluator'):
        use_crf(cfg)


def test_metrics_are_added_to_one_and_to_several():
    cfg = config()
    add_metric(cfg, dict(type='MaskWriter'))
    add_metric(cfg, dict(type='Third'))
    assert [metric['type'] for metric in cfg.test_evaluator] == ['IoUMetric', 'MaskWriter', 'Third']


def test_the_folder_of_the_images():
    assert image_folder(dict(data_root='root', data_prefix=dict(img_path='images'))) == 'root/images'
    assert image_folder(dict(data_prefix=dict(img_path='images'))) == 'images'
    assert image_folder(dict(data_root='root')) is None
