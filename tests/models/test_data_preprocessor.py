import pytest
import torch
from mmseg.structures import SegDataSample

from mmseg_wsss.models import WSSSDataPreProcessor

MEAN, STD = [10.0, 20.0, 30.0], [2.0, 4.0, 5.0]


def test_every_view_gets_the_same_channel_order_and_normalisation():
    processor = WSSSDataPreProcessor(mean=MEAN, std=STD, bgr_to_rgb=True, size=(4, 6))
    image = torch.randint(0, 256, (3, 4, 6), dtype=torch.uint8)
    batch = dict(
        inputs=dict(img=[image, image], global_view=[image, image], local_view=[image, image]),
        data_samples=[SegDataSample(metainfo=dict(img_shape=(4, 6))) for _ in range(2)],
    )
    out = processor(batch, training=True)
    expected = (image.flip(0).float() - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    assert set(out['inputs']) == {'img', 'global_view', 'local_view'}
    for view in out['inputs'].values():
        torch.testing.assert_close(view, torch.stack([expected, expected]))
    torch.testing.assert_close(processor.to_unit(out['inputs']['img'])[1], image.flip(0) / 255)


def test_plain_inputs_are_mmsegs():
    processor = WSSSDataPreProcessor(mean=MEAN, std=STD, bgr_to_rgb=True)
    image = torch.randint(0, 256, (3, 4, 6), dtype=torch.uint8)
    out = processor(dict(inputs=[image], data_samples=[SegDataSample()]))
    torch.testing.assert_close(processor.to_unit(out['inputs'])[0], image.flip(0) / 255)


def batch_of(sizes: dict[str, int]) -> dict:
    inputs = {name: [torch.zeros(3, side, side, dtype=torch.uint8)] * 2 for name, side in sizes.items()}
    return dict(inputs=inputs, data_samples=[SegDataSample() for _ in range(2)])


def test_without_a_size_the_crop_is_the_size():
    processor = WSSSDataPreProcessor(mean=MEAN, std=STD)
    out = processor(batch_of(dict(img=6, global_view=6)), training=True)['inputs']
    assert {name: tuple(view.shape) for name, view in out.items()} == dict(img=(2, 3, 6, 6), global_view=(2, 3, 6, 6))


@pytest.mark.parametrize(('size', 'views'), [((8, 8), dict(img=6, local_view=6)), (None, dict(img=8, local_view=6))])
def test_views_of_different_sizes_are_refused_with_the_keys(size, views):
    processor = WSSSDataPreProcessor(mean=MEAN, std=STD, size=size)
    with pytest.raises(
        ValueError, match=r"\{'img': \(8, 8\), 'local_view': \(6, 6\)\}: crop_size .* scale .* data_preprocessor.size"
    ):
        processor(batch_of(views), training=True)
