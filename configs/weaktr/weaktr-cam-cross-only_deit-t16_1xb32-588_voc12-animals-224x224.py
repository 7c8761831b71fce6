"""WeakTr, first stage, on the real subset: coarse CAM times class-to-patch attention, without patch-to-patch attention.

Reproduces: nothing published; the refinement without its last factor, under the budget of
            weaktr-cam_deit-t16_1xb32-588_voc12-animals-224x224.py.
Expected:   docs/results/weaktr_voc12-animals.md, as far as it was run
Time:       as weaktr-cam_deit-t16_1xb32-588_voc12-animals-224x224.py
Command:    python tools/train.py configs/weaktr/weaktr-cam-cross-only_deit-t16_1xb32-588_voc12-animals-224x224.py
"""

_base_ = './weaktr-cam_deit-t16_1xb32-588_voc12-animals-224x224.py'
model = dict(cam_head=dict(patch_attention=False))
