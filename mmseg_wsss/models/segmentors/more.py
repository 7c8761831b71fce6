"""MoRe: regularised relations of class and patch tokens (Yang et al., AAAI 2025, https://arxiv.org/abs/2412.11076)."""

from collections.abc import Mapping, Sequence

import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ...structures import image_scores
from ..backbones import Tokens
from ..cam import multi_scale_cam
from .base import Starts
from .parts import completed, require_tokens, token_width
from .single_stage import SingleStage

STARTS = ('loss_ptc', 'loss_certain', 'loss_uncertain', 'loss_seg', 'loss_reg', 'final_cam', 'final_tokens')
# low and high threshold of the token labels of each loss, before ``final_tokens`` and from then on
THRESHOLDS = dict(certain=(0.25, 0.5), uncertain=(0.25, 0.7), final=(0.35, 0.6))


@MODELS.register_module()
class MoRe(SingleStage):
    """Single-stage segmentation with a class token for every class, each behind a graph and tied to patch tokens.

    Token labels of a CAM decide which patch tokens a class token has to find (certain ones) and which patch tokens move
    to the present classes (uncertain ones). A third CAM, ``lam``, is the product of class tokens and patch tokens.
    Every part that is ``None`` is left out of the loss.

    Args:
        backbone: a backbone with ``tokens`` (``TokenViT``) whose ``out_indices`` hold the auxiliary and the last block;
            it has C class tokens and, as published, 4 registers.
        cam_head, aux_cam_head: as in ``SingleStage``; the auxiliary one is needed for the labels of the token losses.
        graph: graph between patch tokens and class tokens.
        loss_token: token identity of the class tokens behind the graph.
        loss_certain, loss_uncertain: the two losses on labels of the tokens.
        loss_ptc: patch token contrast as in ToCo.
        token_thresholds: (low, high) of the token labels: ``certain`` and ``uncertain`` for those of either loss from
            the auxiliary CAM, ``final`` for those of both from the final CAM. The defaults are the published values.
        starts: first iteration, counted from 0, of each loss but ``loss_token``; of ``final_cam``: before it
            pseudo-labels come from the auxiliary CAM; and of ``final_tokens``: before it token labels do. The default
            of each is 0.
        **kwargs: of ``SingleStage``: ``decode_head``, ``refiner``, ``loss_reg`` ...

    Raises:
        TypeError: the backbone has no ``tokens``.
        ValueError: ``starts`` or ``token_thresholds`` has an unknown name or an impossible value.
    """

    def __init__(
        self,
        *,
        backbone: dict,
        cam_head: dict,
        aux_cam_head: dict,
        graph: dict,
        loss_token: dict | None = None,
        loss_certain: dict | None = None,
        loss_uncertain: dict | None = None,
        loss_ptc: dict | None = None,
        num_classes: int | None = None,
        token_thresholds: Mapping[str, tuple[float, float]] | None = None,
        starts: Starts | None = None,
        **kwargs,
    ) -> None:
        require_tokens('MoRe', backbone)
        tokens = cam_head.get('num_classes') if num_classes is None else num_classes
        super().__init__(
            backbone=completed(backbone, 'backbone', num_cls_tokens=tokens),
            cam_head=cam_head,
            aux_cam_head=aux_cam_head,
            num_classes=num_classes,
            **kwargs,
        )
        fit = dict(num_classes=self.num_classes - 1, in_channels=token_width(self.backbone))
        self.graph = MODELS.build(completed(graph, 'graph', **fit))
        self.loss_token, self.loss_certain, self.loss_uncertain, self.loss_ptc = (
            MODELS.build(loss) if loss else None for loss in (loss_token, loss_certain, loss_uncertain, loss_ptc)
        )
        if self.loss_certain:
            self.trains['loss_certain'] = () if loss_token else ('graph',)
        self.trains |= {name: () for name in ('loss_uncertain', 'loss_ptc') if getattr(self, name)}
        self.token_thresholds = {**THRESHOLDS, **(token_thresholds or {})}
        wrong = [
            f'{name}={pair}'
            for name, pair in self.token_thresholds.items()
            if name not in THRESHOLDS or not 0 <= pair[0] < pair[1] <= 1
        ]
        if wrong:
            raise ValueError(
                f'token_thresholds has {", ".join(wrong)}; it takes 0 <= low < high <= 1 for {", ".join(THRESHOLDS)}'
            )
        self.set_starts(starts, STARTS)

    def loss(self, inputs: Mapping[str, Tensor] | Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """All terms of the training objective.

        Args:
            inputs: (B, 3, H, W), normalised.
            data_samples: with image-level labels. Published crops have no padding; in others it counts as uncertain.
        """
        images, label = self.named_views(inputs)['img'], image_scores(data_samples)
        tokens = self.backbone.tokens(images)
        losses = self.classification_losses(tokens.maps, label)
        class_tokens = self.class_tokens(tokens)
        if self.loss_token:
            losses['loss_token'] = self.loss_token(class_tokens[None])
        begun, features = self.begun(), tokens.maps[-1]
        if begun:
            present = self.present_classes(label, data_samples)
            cams = self.training_cams(images, tokens.maps, present)
            valid = self.valid_mask(images, data_samples)
        if 'loss_certain' in begun:
            own = present.to_class(self._token_label('certain', features, cams, valid))
            losses['loss_certain'] = self.loss_certain(class_tokens, features, own)
        if 'loss_uncertain' in begun:
            regions = self._token_label('uncertain', features, cams, valid)
            losses['loss_uncertain'] = self.loss_uncertain(features, class_tokens, regions, label)
        if 'loss_ptc' in begun:
            relation = self.token_relation(features.shape[-2:], cams['cam_aux'], valid)
            losses['loss_ptc'] = self.loss_ptc(features, *relation)
        if 'loss_seg' in begun:
            cam = cams['cam' if self.has_begun('final_cam') else 'cam_aux']
            unit = self.data_preprocessor.to_unit(images)
            pseudo = self.pseudo_label(unit, cam, present, valid)
            losses |= self.segmentation_losses(tokens.maps, pseudo, data_samples, unit=unit, valid=valid)
        losses |= self.not_begun()
        self.iteration += 1
        return losses

    def class_tokens(self, tokens: Tokens) -> Tensor:
        """Class tokens (B, C, D) behind the graph."""
        return self.graph(tokens.cls_token, tokens.maps[-1])

    @torch.no_grad()
    def cams(self, images: Tensor, *, maps: Sequence[Tensor] | None = None) -> dict[str, Tensor]:
        """``cam``, ``cam_aux`` and ``lam``; see the contract. Class tokens are not in ``maps``: nothing is reused."""

        def raw_cams(images: Tensor) -> dict[str, Tensor]:
            tokens = self.backbone.tokens(images)
            lam = torch.einsum('bcd,bdhw->bchw', self.class_tokens(tokens), tokens.maps[-1])
            return self.raw_cams(tokens.maps) | dict(lam=lam)

        return multi_scale_cam(raw_cams, images, scales=self.cam_scales, signed=('lam',))

    def _token_label(self, name: str, features: Tensor, cams: Mapping[str, Tensor], valid: Tensor) -> Tensor:
        """Token labels (B, h, w) over the present classes for one of the two losses."""
        final = self.has_begun('final_tokens')
        low, high = self.token_thresholds['final' if final else name]
        cam = cams['cam' if final else 'cam_aux']
        return self.token_label(features.shape[-2:], cam, valid, low=low, high=high)
