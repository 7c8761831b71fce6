# Six classes of PASCAL VOC 2012 (cat, cow, dog, horse, person, sheep): 3,139 training images by their tags, 462 val
# images by their masks.
_base_ = './voc12_aug_tags.py'
classes = ('cat', 'cow', 'dog', 'horse', 'person', 'sheep')
_animals = dict(classes=classes, image_labels=dict(path='image_labels_animals.json'))
train_dataloader = dict(dataset=dict(ann_file='ImageSets/Segmentation/animals_train_aug.txt', **_animals))
val_dataloader = dict(
    dataset=dict(
        ann_file='ImageSets/Segmentation/animals_val.txt',
        data_prefix=dict(seg_map_path='SegmentationClassAnimals'),
        **_animals,
    )
)
test_dataloader = val_dataloader
