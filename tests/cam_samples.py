"""Samples for the tests of the CAM metric, and what each of several processes does with them.

A module of its own, because a spawned process has to import it by name.
"""

import numpy as np
import torch
import torch.distributed as dist
from mmengine.dataset import DefaultSampler
from mmseg.registry import METRICS

import mmseg_wsss  # noqa: F401  registers the metric in a spawned process

CLASSES = ('background', 'cat', 'dog', 'cow')


def random_sample(seed, height=11, width=13):
    rng = np.random.default_rng(seed)
    ground_truth = rng.choice([0, 1, 2, 255], (1, height, width))  # cow is in no ground truth
    cam = np.round(rng.random((3, height, width)), 1)  # many values fall exactly on a threshold
    return {
        'img_path': f'{seed}.jpg',
        'gt_sem_seg': {'data': torch.from_numpy(ground_truth)},
        'pred_sem_seg': {'data': torch.from_numpy(rng.choice([0, 1, 2, 255], (1, height, width)))},
        'cam': {'data': torch.from_numpy(cam).float()},
        'cam_aux': {'data': torch.from_numpy(rng.random((3, height, width))).float()},
        'cam_names': ('cam', 'cam_aux'),
        'background_threshold': 0.4,
    }


def sparse_sample(index):
    """The dog is in the ground truth and the predictions of every third image alone: of three processes one sees it."""
    sample = random_sample(index)
    if index % 3:
        for name in ('gt_sem_seg', 'pred_sem_seg'):
            data = sample[name]['data']
            sample[name]['data'] = torch.where(data == 2, 1, data)
        for name in ('cam', 'cam_aux'):
            sample[name]['data'][1] = 0
    return sample


class SparseSamples(torch.utils.data.Dataset):
    """``count`` of them."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index >= self.count:
            raise IndexError
        return sparse_sample(index)


# images, images per batch; three processes get padded and unpadded shares, and shares that are padding alone
SHARES = ((5, 1), (5, 2), (6, 1), (7, 4), (2, 1), (1, 2))


def measure(folder, count, batch_size):
    """What the validation loop does with a metric, for all metrics; ``folder`` is shared by the processes."""
    loader = torch.utils.data.DataLoader(
        SparseSamples(count), batch_size, sampler=DefaultSampler(SparseSamples(count), shuffle=False), collate_fn=list
    )
    metrics = {
        'cam': METRICS.build({'type': 'CAMIoUMetric'}),
        'gathered by messages': METRICS.build({'type': 'CAMIoUMetric', 'collect_device': 'gpu'}),
        'mmseg': METRICS.build({'type': 'IoUMetric', 'iou_metrics': ['mIoU', 'mFscore']}),
        'masks': METRICS.build({'type': 'MaskWriter', 'out_dir': f'{folder}/masks-{count}-{batch_size}'}),
    }
    results = {}
    for name, metric in metrics.items():
        metric.dataset_meta = {'classes': CLASSES}
        metric.collect_dir = f'{folder}/parts-{name}-{count}-{batch_size}' if metric.collect_device == 'cpu' else None
        for batch in loader:
            metric.process({}, batch)
        results[name] = metric.evaluate(count)
    return results


def measure_share(rank, processes, folder):
    """One of several processes; each writes what it believes the results of all shares to be."""
    dist.init_process_group('gloo', init_method=f'file://{folder}/sync', rank=rank, world_size=processes)
    torch.save([measure(folder, *share) for share in SHARES], f'{folder}/{rank}.pth')
    dist.barrier()
    dist.destroy_process_group()
