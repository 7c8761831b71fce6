# MoRe: as ToCo, the graph learns ten times as fast as the backbone.
_base_ = './toco_20k.py'
faster = dict(lr_mult=10)
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys=dict(_delete_=True, cam_head=faster, aux_cam_head=faster, graph=faster, decode_head=faster)
    )
)
