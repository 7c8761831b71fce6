"""WeakTr, first stage, DeiT-S/16, the paper's FFN with 18 hidden values instead of the published command's 9.

Reproduces: WeakTr Table 8, hidden dimension 18 (66.2; 65.8 with 9, 65.4 with 36).
Expected:   66.2 mIoU (CAM, VOC 2012 train); not run
Time:       as weaktr-cam_deit-s16_1xb64-60e_voc12aug-224x224.py
Command:    python tools/train.py configs/weaktr/weaktr-cam-hidden18_deit-s16_1xb64-60e_voc12aug-224x224.py
"""

_base_ = './weaktr-cam_deit-s16_1xb64-60e_voc12aug-224x224.py'
model = dict(cam_head=dict(head_weights=dict(reduction=4)))
