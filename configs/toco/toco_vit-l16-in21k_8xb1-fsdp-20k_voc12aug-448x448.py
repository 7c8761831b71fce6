"""ToCo, ViT-L/16 AugReg ImageNet-21k, PASCAL VOC 2012 train_aug, crops of 448, parameters divided over GPUs (FSDP).

Reproduces: nothing published; the recipe of ViT-B with twice the batch, a rate that was not tuned, and the auxiliary
            classifier at the same relative depth (block 20 of 24).
Expected:   no published number; tests at 448x448. Not run by us at this size.
Time:       not run; docs/scaling.md estimates it.
Command:    tools/dist_train.sh configs/toco/toco_vit-l16-in21k_8xb1-fsdp-20k_voc12aug-448x448.py 8
"""

_base_ = './toco_vit-b16-in21k_1xb4-20k_voc12aug-448x448.py'
checkpoint = 'https://huggingface.co/timm/vit_large_patch16_224.augreg_in21k/resolve/main/pytorch_model.bin'
model = dict(
    backbone=dict(arch='large', out_indices=(19, 23), init_cfg=dict(checkpoint=checkpoint)),
)
train_dataloader = dict(batch_size=1)
optim_wrapper = dict(type='BF16OptimWrapper')

# FSDP is a strategy of mmengine's other runner. Each block's weights are gathered when it runs; those outside of blocks
# are gathered once for the step, in which `backbone.tokens` and the classifiers' weights are used directly. The EMA
# teacher stays whole in every process: it is written to within the step, which FSDP's views of weights do not allow.
# Losses and weights are those of DDP.
runner_type = 'FlexibleRunner'
strategy = dict(
    type='ShardedStrategy',
    model_wrapper=dict(
        type='MMFullyShardedDataParallel',
        auto_wrap_policy='wrap_transformer_blocks',
        ignored_modules=['projector.teacher'],
        sync_module_states=True,
    ),
    state_dict_cfg='full',  # checkpoints like those without FSDP, for tools/test.py
)
