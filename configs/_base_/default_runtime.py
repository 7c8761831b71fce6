# Runtime of every config: logging, checkpoints, one validation pass per interval.
default_scope = 'mmseg'
custom_imports = dict(imports=['mmseg_wsss'], allow_failed_imports=False)
env_cfg = dict(
    cudnn_benchmark=True, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='nccl')
)
# An ablation without the segmentation loss leaves the decoder without a gradient, which DistributedDataParallel has to
# be told.
find_unused_parameters = True
log_processor = dict(by_epoch=False)
log_level = 'INFO'
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='WholeCheckpointHook', by_epoch=False, interval=2000, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
custom_hooks = [dict(type='IterationSeedHook'), dict(type='ClassCountHook')]
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer')
load_from = None
resume = False
randomness = dict(seed=0)
