"""ToCo at toy size on drawn scenes with the dense energy loss too.

Reproduces: the last row of ToCo's Table 4 (+ L_reg), not its figures.
Expected:   see docs/demo.md.
Time:       see docs/demo.md.
Command:    make demo
"""

_base_ = './toco_vit-demo_drawn-scenes.py'
model = dict(loss_reg=dict(_delete_=True, type='DenseEnergyLoss', loss_weight=0.05))
