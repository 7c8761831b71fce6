"""A second mask beside the one that is learnt."""

from mmseg.registry import TRANSFORMS

from .load_image import LoadMask


@TRANSFORMS.register_module()
class LoadTruth(LoadMask):
    """Load the true mask of an image whose ``gt_seg_map`` is a pseudo-label; it is never learnt.

    It goes through the same geometry as ``gt_seg_map``, because it is one of the ``seg_fields`` that mmseg's
    ``Resize``, ``RandomFlip`` and ``RandomCrop`` treat alike, and ends as ``gt_truth`` in the data sample
    (``PackWSSSInputs``). ``OnlineRetraining`` logs the precision of the pseudo-labels by it.

    Required keys: ``img_path``, ``ori_shape``, and ``truth_path`` for the images that have a truth; the others go
    through as they are. Added keys: ``gt_truth`` (H, W), also in ``seg_fields``.

    Raises:
        FileNotFoundError, ValueError: as ``LoadMask``.
    """

    def transform(self, results: dict) -> dict:
        """Read and check the true mask where the sample has one."""
        if results.get('truth_path') is None:
            return results
        alone = {key: results[key] for key in ('img_path', 'ori_shape', 'label_map') if key in results}
        results['gt_truth'] = super().transform({**alone, 'seg_map_path': results['truth_path']})['gt_seg_map']
        results.setdefault('seg_fields', []).append('gt_truth')
        return results
