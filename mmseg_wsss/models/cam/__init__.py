"""Pure functions on class activation maps (CAM, https://arxiv.org/abs/1512.04150), without a registry."""

from .activation import conv_cam, multi_scale_cam, normalize_cam, scale_bicubic, scale_bilinear
from .affinity import balanced, component_boxes, feature_affinity, mean_patch_attention, spread
from .attention_fusion import attention_map, class_attention, received_attention, spread_by_patch_attention
from .local_crops import FOREGROUND, cam_to_roi, cut_crops, is_positive, sample_corners
from .patch_tags import MIXED, patch_tags
from .present_classes import PresentClasses
from .pseudo_label import cam_to_label, falling_threshold, pair_relation, refined_label, valid_mask
from .rank_pooling import rank_weighted_mean

__all__ = [
    'FOREGROUND',
    'MIXED',
    'PresentClasses',
    'attention_map',
    'balanced',
    'cam_to_label',
    'cam_to_roi',
    'class_attention',
    'component_boxes',
    'conv_cam',
    'cut_crops',
    'falling_threshold',
    'feature_affinity',
    'is_positive',
    'mean_patch_attention',
    'multi_scale_cam',
    'normalize_cam',
    'pair_relation',
    'patch_tags',
    'rank_weighted_mean',
    'received_attention',
    'refined_label',
    'sample_corners',
    'scale_bicubic',
    'scale_bilinear',
    'spread',
    'spread_by_patch_attention',
    'valid_mask',
]
