# Six classes of PASCAL VOC 2012 (cat, cow, dog, horse, person, sheep): pseudo-masks of 3,139 training images,
# ground-truth masks of 462 val images. The ground truth of the training images is only used to log the precision of the
# pseudo-masks.
_base_ = './voc12_aug_pseudo.py'
classes = ('cat', 'cow', 'dog', 'horse', 'person', 'sheep')
mask_dir = 'work_dirs/weaktr_animals/pseudo/SegmentationClass'
train_dataloader = dict(
    dataset=dict(
        classes=classes,
        mask_dir=mask_dir,
        ann_file='ImageSets/Segmentation/animals_train_aug.txt',
        data_prefix=dict(ground_truth_path='SegmentationClassAnimals'),
    )
)
val_dataloader = dict(
    dataset=dict(
        classes=classes,
        image_labels=dict(path='image_labels_animals.json'),
        ann_file='ImageSets/Segmentation/animals_val.txt',
        data_prefix=dict(seg_map_path='SegmentationClassAnimals'),
    )
)
test_dataloader = val_dataloader
