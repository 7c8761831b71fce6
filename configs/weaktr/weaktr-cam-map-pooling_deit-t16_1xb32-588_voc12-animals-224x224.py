"""WeakTr, first stage, on the real subset: the pooling of Eq. 3 to the letter.

Reproduces: nothing published; Eq. 3 as it is printed, under the budget of
            weaktr-cam_deit-t16_1xb32-588_voc12-animals-224x224.py.
Expected:   docs/results/weaktr_voc12-animals.md, as far as it was run
Time:       as weaktr-cam_deit-t16_1xb32-588_voc12-animals-224x224.py
Command:    python tools/train.py configs/weaktr/weaktr-cam-map-pooling_deit-t16_1xb32-588_voc12-animals-224x224.py
"""

_base_ = './weaktr-cam_deit-t16_1xb32-588_voc12-animals-224x224.py'
model = dict(cam_head=dict(head_weights=dict(_delete_=True, type='MapPooledWeights', reduction=4)))
