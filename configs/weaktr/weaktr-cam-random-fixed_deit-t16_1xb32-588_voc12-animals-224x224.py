"""WeakTr, first stage, on the real subset: a random fixed query instead of the dynamic one.

Reproduces: WeakTr Table 4, "rand. fixed W" (65.3 against 66.2), under the budget of
            weaktr-cam_deit-t16_1xb32-588_voc12-animals-224x224.py.
Expected:   docs/results/weaktr_voc12-animals.md, as far as it was run
Time:       as weaktr-cam_deit-t16_1xb32-588_voc12-animals-224x224.py
Command:    python tools/train.py configs/weaktr/weaktr-cam-random-fixed_deit-t16_1xb32-588_voc12-animals-224x224.py
"""

_base_ = './weaktr-cam_deit-t16_1xb32-588_voc12-animals-224x224.py'
model = dict(cam_head=dict(head_weights=dict(_delete_=True, type='FixedQueryWeights', reduction=4)))
