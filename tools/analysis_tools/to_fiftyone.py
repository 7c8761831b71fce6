"""A run as a data set of FiftyOne: ``python tools/analysis_tools/to_fiftyone.py WORK_DIR --name NAME``.

WORK_DIR is that of ``tools/train.py`` or of ``tools/run_two_stage.py``. Each image of the test set becomes a sample:
image-level labels as ``Classifications``, the CAM of every tag as a ``Heatmap``, pseudo-label, prediction and ground
truth as ``Segmentation``. FiftyOne does the rest: ``fiftyone app launch NAME``, ``evaluate_segmentations``, and its
bridges to CVAT and Label Studio.
"""

import argparse
import sys
from pathlib import Path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    add = parser.add_argument
    add('work_dir', type=Path, metavar='WORK_DIR', help='of a training, or of both stages')
    add('--name', required=True, help='of the data set, which must not be there yet')
    add('--num', type=int, default=sys.maxsize, help='images, spread evenly over the test set (default: all)')
    add('--threshold', type=float, metavar='X', help="default: that of the labels, else the model's")
    args = parser.parse_args(argv)
    if not args.work_dir.is_dir():
        parser.error(f'there is no folder {args.work_dir}')
    if args.num < 1:
        parser.error('--num must be at least 1')
    return args


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from collections.abc import Sequence

try:
    import fiftyone as fo  # first: mmengine brings an importlib_metadata with which its import fails
except ImportError:
    sys.exit("error: fiftyone is not installed: pip install 'mmseg_wsss[fiftyone]'")

from mmseg_wsss.apis.run_folder import painters_of, pictures, stages_of
from mmseg_wsss.visualization import Picture

MASKS = {'label': 'pseudo_label', 'prediction': 'prediction', 'truth': 'ground_truth'}


def sample_of(picture: Picture, classes: Sequence[str]):
    """A sample of FiftyOne.

    Args:
        picture: with a path.
        classes: names of the ids, background first.
    """
    tags = [fo.Classification(label=name) for name in picture.tags]
    sample = fo.Sample(filepath=picture.path, image_labels=fo.Classifications(classifications=tags))
    if picture.cam is not None:
        for name, cam in zip(classes[1:], picture.cam, strict=True):
            if name in picture.tags:
                sample[f'cam_{name.replace(" ", "_")}'] = fo.Heatmap(map=cam, range=[0, 1])
    for name, field in MASKS.items():
        if (mask := getattr(picture, name)) is not None:
            sample[field] = fo.Segmentation(mask=mask.astype('uint8'))
    if picture.iou is not None:
        sample['mIoU'] = picture.iou
    return sample


def main(argv: list[str] | None = None) -> None:
    """Predict and add the samples."""
    args = parse_args(argv)
    if fo.dataset_exists(args.name):
        sys.exit(f'error: --name: FiftyOne has a data set {args.name} already (fiftyone datasets delete {args.name})')
    painters = painters_of(stages_of(args.work_dir).values(), threshold=args.threshold)
    if not painters:
        raise ValueError(f'{args.work_dir} has no last_checkpoint: the training has not come that far')
    classes = painters[-1].images.metainfo['classes']
    found = [sample_of(one, classes) for one in pictures(painters, args.num, photos=False)]
    dataset = fo.Dataset(args.name, persistent=True)
    dataset.default_mask_targets = dict(enumerate(classes))
    dataset.add_samples(found)
    print(f'{len(found)} samples; fiftyone app launch {args.name}')


if __name__ == '__main__':
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
