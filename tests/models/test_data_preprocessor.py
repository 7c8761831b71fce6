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
