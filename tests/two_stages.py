"""Configs of two tiny stages and the counterpart, and a stand-in for the tools that run them."""

import json
from pathlib import Path

from colour_net import CLASSES
from mmengine.config import Config
from tiny_toco import fcn_head, tiny_config
from tiny_weaktr import weaktr_config

CAM_ITERS, SEG_ITERS = 60, 2


def loader(dataset, *, train):
    sampler = {'type': 'InfiniteSampler', 'shuffle': True} if train else {'type': 'DefaultSampler', 'shuffle': False}
    return {'batch_size': 2 if train else 1, 'num_workers': 0, 'sampler': sampler, 'dataset': dataset}


def write_configs(root):
    """``cam.py``, ``seg.py`` and ``fully.py`` for the images of ``make_data``."""
    images = {'data_root': str(root), 'classes': CLASSES}
    tagged = {'type': 'ImageTagDataset', 'image_labels': {'type': 'TagFile', 'path': 'tags.json'}, **images}
    load = [{'type': 'LoadImage'}, {'type': 'LoadMask'}]
    resize, pack = {'type': 'Resize', 'scale': (32, 32)}, {'type': 'PackWSSSInputs'}
    prefix = {'img_path': 'images', 'seg_map_path': 'masks'}
    val = {**tagged, 'ann_file': 'val.txt', 'data_prefix': prefix, 'pipeline': [*load, pack], 'test_mode': True}
    flips = [{'type': 'RandomFlip', 'prob': 0.0}, {'type': 'RandomFlip', 'prob': 1.0}]
    shared = {
        'default_scope': 'mmseg',
        'custom_imports': {'imports': ['mmseg_wsss'], 'allow_failed_imports': False},
        'test_dataloader': loader(val, train=False),
        'test_evaluator': {'type': 'CAMIoUMetric'},
        'test_cfg': {},
        'optim_wrapper': {'optimizer': {'type': 'AdamW', 'lr': 1e-3}},
        'log_processor': {'by_epoch': False},
        'tta_model': {'type': 'MeanSoftmaxTTA'},
        'tta_pipeline': [load[0], {'type': 'TestTimeAug', 'transforms': [flips, [load[1]], [pack]]}],
    }
    labelled = {**tagged, 'ann_file': 'train.txt', 'data_prefix': {'img_path': 'images'}}
    backbone = tiny_config()['backbone'] | {'out_indices': (3,)}
    clipped = {'type': 'GradientClippedCrossEntropy', 'patch_size': 8}
    seg_model = {
        'type': 'OnlineRetraining',
        'data_preprocessor': {'type': 'SegDataPreProcessor', 'size': (32, 32), 'test_cfg': {'size_divisor': 8}},
        'backbone': backbone,
        'decode_head': {**fcn_head(), 'in_index': 0, 'loss_decode': clipped},
        'test_cfg': {'mode': 'whole'},
    }
    masked = {'type': 'PseudoMaskDataset', **images, 'ann_file': 'train.txt', 'data_prefix': {'img_path': 'images'}}
    stages = {
        'cam': (weaktr_config(), labelled, [load[0], resize, pack], CAM_ITERS),
        'seg': (seg_model, masked | {'mask_dir': ''}, [*load, resize, pack], SEG_ITERS),
        'fully': (seg_model, masked | {'mask_dir': str(root / 'masks')}, [*load, resize, pack], SEG_ITERS),
    }
    for name, (model, dataset, pipeline, iters) in stages.items():
        training = {
            'model': model,
            'train_dataloader': loader({**dataset, 'pipeline': pipeline}, train=True),
            'train_cfg': {'type': 'IterBasedTrainLoop', 'max_iters': iters},
            'default_hooks': {'checkpoint': {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 5}},
        }
        Config({**shared, **training}).dump(root / f'{name}.py')
    return root


class Tools:
    """Stands for the tools: records the calls, leaves what they would leave."""

    def __init__(self):
        self.calls = []

    def __call__(self, tool, *arguments):
        arguments = [str(one) for one in arguments]
        self.calls.append([tool, *arguments])
        if tool.endswith('pseudo_labels.py'):
            out = Path(arguments[arguments.index('--out') + 1])
            out.mkdir(parents=True, exist_ok=True)
            for name, content in (('manifest', {'found': {}}), ('report', {})):
                (out / f'{name}.json').write_text(json.dumps(content))
        elif tool.endswith('mask_iou.py'):
            (Path(arguments[0]) / 'iou.json').write_text('{"mIoU": 55.5}')
        elif tool == 'train.py':
            folder = Path(arguments[arguments.index('--work-dir') + 1])
            folder.mkdir(parents=True, exist_ok=True)
            iters = Config.fromfile(arguments[0]).train_cfg.max_iters
            (folder / f'iter_{iters}.pth').touch()
            (folder / 'last_checkpoint').write_text(f'/elsewhere/iter_{iters}.pth')
        else:
            folder = Path(arguments[arguments.index('--work-dir') + 1])
            folder.mkdir(parents=True, exist_ok=True)
            flags = ''.join(one.replace('--', '_') for one in arguments if one in ('--tta', '--crf'))
            name = Path(arguments[0]).stem
            metrics = {'cam/mIoU': 40.04} if name == 'cam' else {'seg/mIoU': 80 if name == 'fully' else 50}
            (folder / f'test{flags}.json').write_text(json.dumps({'metrics': metrics}))
