"""Samples for the tests of the CAM metric, and what each of two processes does with them.

A module of its own, because a spawned process has to import it by name.
"""

import numpy as np
import torch
import torch.distributed as dist
from mmseg.registry import METRICS

import mmseg_wsss  # noqa: F401  registers the metric in a spawned process

CLASSES = ('background', 'cat', 'dog', 'cow')


def random_sample(seed, height=11, width=13):
    rng = np.random.default_rng(seed)
    truth = rng.choice([0, 1, 2, 255], (1, height, width))  # cow is in no truth
    cam = np.round(rng.random((3, height, width)), 1)  # many values fall exactly on a threshold
    return {
        'img_path': f'{seed}.jpg',
        'gt_sem_seg': {'data': torch.from_numpy(truth)},
        'pred_sem_seg': {'data': torch.from_numpy(rng.choice([0, 1, 2, 255], (1, height, width)))},
        'cam': {'data': torch.from_numpy(cam).float()},
        'cam_aux': {'data': torch.from_numpy(rng.random((3, height, width))).float()},
    }


def evaluate_half(rank, folder, queue):
    dist.init_process_group('gloo', init_method=f'file://{folder}/sync', rank=rank, world_size=2)
    samples = [random_sample(seed) for seed in range(5)]
    metric = METRICS.build({'type': 'CAMIoUMetric'})
    metric.collect_dir = f'{folder}/parts'
    metric.dataset_meta = {'classes': CLASSES}
    metric.process({}, [[*samples, samples[0]][i] for i in range(rank, 6, 2)])  # as DefaultSampler pads 5 to 6
    metrics = metric.evaluate(5)
    if rank == 0:
        queue.put(metrics)
    dist.destroy_process_group()
