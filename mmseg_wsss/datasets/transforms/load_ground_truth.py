"""Ground truth next to a pseudo-mask, for the log."""

from mmseg.registry import TRANSFORMS

from .load_image import LoadMask


@TRANSFORMS.register_module()
class LoadGroundTruth(LoadMask):
    """Load the ground-truth mask of an image whose ``gt_seg_map`` is a pseudo-label; it is never trained on.

    It undergoes the same geometry as ``gt_seg_map``, because mmseg's ``Resize``, ``RandomFlip`` and ``RandomCrop``
    treat all ``seg_fields`` alike. ``PackWSSSInputs`` stores it as ``ground_truth`` in the data sample, and
    ``OnlineRetraining`` logs the precision of the pseudo-labels with it.

    Required keys: ``img_path``, ``ori_shape``, and ``ground_truth_path`` for images that have ground truth; the others
    pass unchanged. Added keys: ``ground_truth`` (H, W), also in ``seg_fields``.

    Raises:
        FileNotFoundError, ValueError: as ``LoadMask``.
    """

    def transform(self, results: dict) -> dict:
        """Read and check the ground-truth mask where the sample has one."""
        if results.get('ground_truth_path') is None:
            return results
        alone = {key: results[key] for key in ('img_path', 'ori_shape', 'label_map') if key in results}
        results['ground_truth'] = super().transform({**alone, 'seg_map_path': results['ground_truth_path']})[
            'gt_seg_map'
        ]
        results.setdefault('seg_fields', []).append('ground_truth')
        return results
