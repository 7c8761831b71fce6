"""A method from outside of the package, as a module of its user: a CAM that is fused from two depths of the encoder.

It has a threshold, a loss and names of CAMs of its own; ``custom_imports`` of a config brings it in.
"""

import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from toy_runs import MODEL as TOCO

from mmseg_wsss.models import SingleStage
from mmseg_wsss.structures import image_scores

PARTS = ('data_preprocessor', 'backbone', 'cam_head', 'aux_cam_head', 'refiner', 'test_cfg')
MODEL = {name: TOCO[name] for name in PARTS} | {
    'type': 'FusedDepths',
    'loss_agree': {'type': 'AgreementLoss', 'loss_weight': 0.5},
    'starts': {'loss_seg': 2},
    'decode_head': {key: value for key, value in TOCO['decode_head'].items() if key != 'loss_decode'},
}


@MODELS.register_module()
class AgreementLoss(nn.Module):
    """Mean squared difference of two classifiers' probabilities."""

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.loss_weight * (first.sigmoid() - second.sigmoid()).square().mean()


@MODELS.register_module()
class FusedDepths(SingleStage):
    """Two classifiers that agree; the mean of their CAMs labels the images for the decode head."""

    def __init__(self, *, loss_agree: dict, starts: dict, background_threshold: float = 0.3, **kwargs) -> None:
        super().__init__(background_threshold=background_threshold, **kwargs)
        self.loss_agree = MODELS.build(loss_agree)
        self.set_starts(starts, ('loss_seg',))

    def raw_cams(self, maps: tuple[Tensor, ...]) -> dict[str, Tensor]:
        deep, shallow = self.cam_head.cams(maps), self.aux_cam_head.cams(maps)
        return {'fused': torch.stack((deep, shallow)).mean(dim=0), 'shallow': shallow}

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        maps, label = self.backbone(inputs), image_scores(data_samples)
        agree = self.loss_agree(self.cam_head(maps), self.aux_cam_head(maps))
        losses = self.classification_losses(maps, label) | {'loss_agree': agree}
        if self.has_begun('loss_seg'):
            present, valid = self.present_classes(label, data_samples), self.valid_mask(inputs, data_samples)
            unit = self.data_preprocessor.to_unit(inputs)
            pseudo = self.pseudo_label(unit, self.training_cams(inputs, maps, present)['fused'], present, valid)
            losses |= self.segmentation_losses(maps, pseudo, data_samples, unit=unit, valid=valid)
        losses |= self.not_begun()
        self.iteration += 1
        return losses
