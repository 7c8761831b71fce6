"""Second stage on MCTformer+'s labels, Segmenter with DeiT-Tiny/16, six classes of PASCAL VOC 2012, on a CPU.

Reproduces: nothing published; WeakTr's second stage on the labels of MCTformer+, whose own is DeepLab with ResNet38.
Expected:   not run
Time:       not run
Command:    python tools/run_two_stage.py \\
                configs/mctformer/mctformer-cam_deit-t16_1xb32-588_voc12-animals-224x224.py \\
                configs/mctformer/mctformer-seg_deit-t16_1xb8-1.5k_voc12-animals-256x256.py \\
                --work-dir work_dirs/mctformer_animals --sweep-split ImageSets/Segmentation/animals_train.txt
"""

_base_ = '../weaktr/weaktr-seg_deit-t16_1xb8-1.5k_voc12-animals-256x256.py'
train_dataloader = dict(dataset=dict(mask_dir='work_dirs/mctformer_animals/pseudo/SegmentationClass'))
