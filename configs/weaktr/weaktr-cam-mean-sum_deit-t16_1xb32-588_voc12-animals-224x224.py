"""WeakTr, first stage, on the real subset: mean over heads and sum over blocks instead of learned weights.

Reproduces: WeakTr Table 4, baseline (61.7 against 66.2), under the budget of
            weaktr-cam_deit-t16_1xb32-588_voc12-animals-224x224.py.
Expected:   docs/results/weaktr_voc12-animals.md, as far as it was run
Time:       as weaktr-cam_deit-t16_1xb32-588_voc12-animals-224x224.py
Command:    python tools/train.py configs/weaktr/weaktr-cam-mean-sum_deit-t16_1xb32-588_voc12-animals-224x224.py
"""

_base_ = './weaktr-cam_deit-t16_1xb32-588_voc12-animals-224x224.py'
model = dict(cam_head=dict(head_weights=dict(_delete_=True, type='EqualWeights')))
