"""The parameter sets, number by number as the papers and their published code have them."""

import pytest
from mmseg.registry import MODELS

from mmseg_wsss.models.refiners import CRF_PRESETS

PUBLISHED = {  # Gaussian sxy, compat; bilateral sxy, srgb, compat
    'toco': (1, 1, 121, 5, 4),
    'weaktr-voc': (3, 3, 83, 5, 3),
    'weaktr-coco': (1, 3, 67, 3, 4),
    'weaktr-voc-labels': (4, 3, 83, 5, 3),
    'weaktr-coco-labels': (3, 3, 50, 5, 10),
}


def numbers(crf) -> tuple[float, ...]:
    return (*(crf.gaussian[k] for k in ('sxy', 'compat')), *(crf.bilateral[k] for k in ('sxy', 'srgb', 'compat')))


def test_every_preset_is_published():
    assert set(CRF_PRESETS) == set(PUBLISHED)


@pytest.mark.parametrize(('name', 'published'), PUBLISHED.items())
@pytest.mark.parametrize('kind', ['DenseCRF', 'ExactCRF', 'LabelCRF'])
def test_numbers(name, published, kind):
    if kind != 'ExactCRF':
        pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')
    crf = MODELS.build(dict(type=kind, preset=name))
    assert numbers(crf) == published
    assert crf.num_iter == 10
    if kind == 'LabelCRF':
        assert crf.gt_prob == 0.7


@pytest.mark.parametrize(
    ('kind', 'name'), [('DenseCRF', 'toco'), ('ExactCRF', 'toco'), ('LabelCRF', 'weaktr-voc-labels')]
)
def test_defaults(kind, name):
    if kind != 'ExactCRF':
        pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')
    assert numbers(MODELS.build(dict(type=kind))) == PUBLISHED[name]


def test_single_values_replace_those_of_the_preset():
    changes = dict(num_iter=4, gaussian=dict(compat=2), bilateral=dict(srgb=7, sxy=60))
    crf = MODELS.build(dict(type='ExactCRF', preset='weaktr-coco', **changes))
    assert numbers(crf) == (1, 2, 60, 7, 4)
    assert crf.num_iter == 4
    assert numbers(MODELS.build(dict(type='ExactCRF', preset='weaktr-coco'))) == PUBLISHED['weaktr-coco']


def test_unknown_preset():
    with pytest.raises(
        ValueError, match="there is no CRF preset 'coco', but there are: toco, weaktr-voc, weaktr-coco,"
    ):
        MODELS.build(dict(type='ExactCRF', preset='coco'))


def test_unknown_kernel_parameters():
    with pytest.raises(ValueError, match='the gaussian kernel has no srgb, but: sxy, compat'):
        MODELS.build(dict(type='ExactCRF', gaussian=dict(srgb=3, sxy=1)))
    with pytest.raises(ValueError, match='the bilateral kernel has no compact, sigma, but: sxy, srgb, compat'):
        MODELS.build(dict(type='ExactCRF', bilateral=dict(sigma=3, compact=1)))
