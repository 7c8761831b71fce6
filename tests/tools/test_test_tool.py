"""tools/test.py and the page of pictures with a random toy ToCo on drawn images: files, numbers and messages."""

import json
import shutil

import mmcv
import numpy as np
import pytest
import torch
from mmseg.registry import METRICS
from PIL import Image
from tool_module import load_tool
from toy_segmentation import build_model, run_test


def evaluate_masks(toy, masks):
    """mIoU of the masks on disk by mmseg's metric."""
    metric = METRICS.build({'type': 'IoUMetric'})
    metric.dataset_meta = {'classes': ('background', 'cat', 'dog')}
    for name, mask in masks.items():
        ground_truth = np.array(Image.open(toy / 'masks' / f'{name}.png'))
        sample = {
            'pred_sem_seg': {'data': torch.from_numpy(mask)},
            'gt_sem_seg': {'data': torch.from_numpy(ground_truth)},
        }
        metric.process({}, [sample])
    return metric.evaluate(len(masks))['mIoU']


def test_plain_test_reports_cams_and_segmentation(toy, run):
    record, masks = run()
    assert sorted(masks) == ['0', '1', '2']
    assert len(np.unique(masks['0'])) > 1  # a constant prediction would hide errors of geometry
    assert [mask.shape for mask in masks.values()] == [(40, 48), (48, 40), (40, 48)]
    assert record['metrics']['seg/mIoU'] == pytest.approx(evaluate_masks(toy, masks), abs=0.006)
    for source in ('cam', 'cam_aux', 'seg'):
        ious = [one for one in record['IoU'][source].values() if one is not None]
        assert record['metrics'][f'{source}/mIoU'] == pytest.approx(np.mean(ious))
    assert {'cam/mIoU', 'cam/best_mIoU', 'cam_aux/best_threshold'} <= set(record['metrics'])
    assert record['metrics']['cam/mIoU'] <= record['metrics']['cam/best_mIoU']
    assert (record['tta'], record['crf']) == (False, False)


def test_images_without_tags_are_evaluated(toy, tmp_path):
    """Their CAMs are 0, so all of their pixels are background, and what the decoder finds on them is wrong."""
    own = shutil.copytree(toy, tmp_path / 'own')
    text = (toy / 'toy.py').read_text().replace(str(toy), str(own))
    (own / 'toy.py').write_text(text)
    (own / 'tags.json').write_text(json.dumps({f'{number}.png': [] for number in range(3)}))
    record, masks = run_test(own, tmp_path)
    metrics = record['metrics']
    true = np.concatenate([np.array(Image.open(toy / 'masks' / f'{name}.png')).ravel() for name in masks])
    share = (true == 0).sum() / (true != 255).sum()
    for cam in ('cam', 'cam_aux'):
        assert (metrics[f'{cam}/images'], metrics[f'{cam}/images_without_ground_truth']) == (3, 0)
        assert metrics[f'{cam}/mIoU'] == pytest.approx(100 * share / 3)
        assert metrics[f'{cam}/best_mIoU'] == metrics[f'{cam}/mIoU']
        assert metrics[f'{cam}/precision'] == pytest.approx(100 * share)  # of the background, which alone is predicted
        assert metrics[f'{cam}/recall'] == pytest.approx(100 / 3)
    assert metrics['seg/mIoU'] == pytest.approx(evaluate_masks(toy, masks), abs=0.006)


def test_tta_and_crf_report_the_segmentation_that_they_write(toy, run):
    pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')
    record, masks = run('--tta', '--crf', '--workers', '0', name='test_tta_crf')
    assert {key.split('/')[0] for key in record['metrics']} == {'seg'}
    assert record['metrics']['seg/mIoU'] == pytest.approx(evaluate_masks(toy, masks), abs=0.006)


def test_tta_is_the_sum_over_flips_and_the_maximum_over_scales(toy, run):
    """One image computed again without pipeline or wrapper."""
    _, masks = run('--tta', name='test_tta')
    model = build_model(toy).eval()
    model.load_state_dict(torch.load(toy / 'toy.pth', weights_only=True)['state_dict'])
    image = Image.open(toy / 'images' / '0.png')
    best = None
    for size in ((48, 40), (60, 50), (72, 60)):
        scaled = mmcv.imresize(np.array(image)[..., ::-1], size)[..., ::-1].copy()
        pixels = (torch.from_numpy(scaled).permute(2, 0, 1)[None].float() - 120) / 60
        with torch.no_grad():
            logits = [model.encode_decode(x, [{'img_shape': x.shape[2:]}]) for x in (pixels, pixels.flip(-1))]
        logits = [
            torch.nn.functional.interpolate(x, (40, 48), mode='bilinear') for x in (logits[0], logits[1].flip(-1))
        ]
        best = sum(logits) if best is None else torch.maximum(best, sum(logits))
    assert (best[0].argmax(0).numpy() == masks['0']).mean() > 0.995


def test_one_scale_without_flip_keeps_the_normalisation_of_the_model(toy, run, tmp_path):
    """Also where the config has other statistics at its top, which mmengine would give to the outermost model."""
    config = tmp_path / 'other.py'
    config.write_text(
        f"""
_base_ = {str(toy / 'toy.py')!r}
data_preprocessor = dict(
    type='WSSSDataPreProcessor', mean=[200.0, 10.0, 90.0], std=[9.0] * 3, bgr_to_rgb=False, pad_val=0, seg_pad_val=255
)
tta_pipeline = [
    dict(type='LoadImage'),
    dict(type='TestTimeAug', transforms=[[dict(type='LoadMask')], [dict(type='PackWSSSInputs')]]),
]
"""
    )
    _, plain = run()
    _, same = run('--tta', name='test_tta', config=config)
    assert all(np.array_equal(plain[name], same[name]) for name in plain)


def test_masks_of_sub_folders_keep_their_place(toy, tmp_path):
    (tmp_path / 'images' / 'a').mkdir(parents=True)
    (tmp_path / 'images' / 'b').mkdir()
    for number, name in enumerate(('a/1', 'b/1', '2')):
        shutil.copy(toy / f'images/{number}.png', tmp_path / f'images/{name}.png')
    (tmp_path / 'tags.json').write_text(json.dumps({'a/1.png': ['cat'], 'b/1.png': ['dog'], '2.png': []}))
    values = {
        'test_dataloader.dataset.data_root': tmp_path,
        'test_dataloader.dataset.data_prefix.seg_map_path': None,
        'test_dataloader.dataset.untagged': 'background',
        'test_evaluator.type': 'MaskWriter',
        'test_evaluator.out_dir': tmp_path / 'more',
        'test_evaluator.img_root': tmp_path / 'images',
    }
    arguments = [str(toy / 'toy.py'), str(toy / 'toy.pth'), '--work-dir', str(tmp_path), '--out', str(tmp_path / 'out')]
    load_tool('test.py').main([*arguments, '--cfg-options', *(f'{key}={value}' for key, value in values.items())])
    written = sorted(path.relative_to(tmp_path / 'out').as_posix() for path in (tmp_path / 'out').rglob('*.png'))
    assert written == ['2.png', 'a/1.png', 'b/1.png']
    assert [Image.open(tmp_path / 'out' / name).size for name in written] == [(48, 40), (48, 40), (40, 48)]


@pytest.mark.parametrize(
    ('dataset', 'root'),
    [
        ({'data_root': 'photos', 'data_prefix': {'img_path': 'images'}}, 'photos/images'),
        ({'data_root': 'photos', 'data_prefix': {'img_path': '/other'}}, '/other'),
        ({'data_root': 'photos', 'data_prefix': {'img_path': ''}}, 'photos/'),
        ({'data_prefix': {'img_path': 'images'}}, 'images'),
        ({'data_root': 'photos'}, None),  # the data set's own default, which the config does not say
        ({'type': 'ConcatDataset', 'datasets': []}, None),
    ],
)
def test_image_folder_of_a_data_set(dataset, root):
    assert load_tool('test.py').image_folder(dataset) == root


def test_missing_checkpoint(toy, capsys):
    with pytest.raises(SystemExit):
        load_tool('test.py').main([str(toy / 'toy.py'), str(toy / 'absent.pth')])
    assert 'there is no checkpoint file' in capsys.readouterr().err


def test_workers_without_a_crf(toy, capsys):
    with pytest.raises(SystemExit):
        load_tool('test.py').main([str(toy / 'toy.py'), str(toy / 'toy.pth'), '--workers', '2'])
    assert '--workers needs --crf' in capsys.readouterr().err


def test_config_without_tta(toy, tmp_path):
    arguments = [str(toy / 'no_tta.py'), str(toy / 'toy.pth'), '--work-dir', str(tmp_path), '--tta']
    with pytest.raises(ValueError, match=r'no_tta\.py has no tta_model and tta_pipeline; add configs/_base_/tta\.py'):
        load_tool('test.py').main(arguments)


def test_checkpoint_of_another_model(toy, tmp_path):
    weights = torch.load(toy / 'toy.pth', weights_only=True)
    del weights['state_dict']['cam_head.classifier.weight']
    torch.save(weights, tmp_path / 'part.pth')
    with pytest.raises(ValueError, match=r'(?s)part\.pth does not fit .*cam_head\.classifier\.weight'):
        load_tool('test.py').main([str(toy / 'toy.py'), str(tmp_path / 'part.pth'), '--work-dir', str(tmp_path)])
