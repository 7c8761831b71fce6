"""CLIPCAM: CAMs of class names by CLIP, without training (CLIP-ES, https://arxiv.org/abs/2212.09506)."""

from collections.abc import Callable, Mapping, Sequence

import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ..backbones import SelfAttention, read_clip_projection
from ..cam import PresentClasses, attention_map, normalize_cam
from .cam_only import CAMOnly
from .parts import completed, require_tokens, token_width


@MODELS.register_module()
class CLIPCAM(CAMOnly):
    """Softmax Grad-CAM of class names with CLIP's image encoder (CLIP-ES Figure 2); nothing is trained.

    Per present class, the gradient of its probability among present classes and background names with respect to the
    patches that enter the last block's attention, averaged over the patches, weighs the channels of these patches. Only
    the class token's way through the last block is differentiated.

    Where image-level labels are known, the present classes alone compete; otherwise all do. There is no checkpoint of
    the whole network: the weights are those of ``backbone.init_cfg``.

    Args:
        backbone: ``TokenViT`` with one class token, CLIP's norms and activation.
        cam_head: ``TextCAMHead``; its projection comes from the file of ``backbone.init_cfg``.
        affinity: ``FeatureAffinity`` without a backbone of its own, which spreads the CAM by this encoder's attention
            (CLIP-ES: class-aware attention-based affinity); None: off.
        cam_scales: scales, summed (published: 1); mirror images are not used.
        **kwargs: of ``CAMOnly``.

    Raises:
        TypeError: the backbone has no ``tokens``.
        ValueError: the affinity has a backbone, or is not by attention.
    """

    needs_checkpoint = False
    merge_flip = None

    def __init__(
        self,
        *,
        backbone: dict,
        cam_head: dict,
        affinity: dict | None = None,
        cam_scales: Sequence[float] = (1.0,),
        **kwargs,
    ) -> None:
        super().__init__(cam_scales=cam_scales, **kwargs)
        require_tokens(type(self).__name__, backbone)
        self.backbone = MODELS.build(backbone)
        self.cam_head = MODELS.build(completed(cam_head, 'cam_head', in_channels=token_width(self.backbone)))
        self.affinity = MODELS.build(affinity) if affinity else None
        if self.affinity and (self.affinity.backbone is not None or self.affinity.source != 'attention'):
            raise ValueError("model.affinity spreads by CLIP's own attention: leave its backbone and source out")
        # not the projection: DistributedDataParallel refuses a network that is frozen as a whole
        self.backbone.requires_grad_(False)

    def init_weights(self) -> None:
        """Load the image encoder and its projection.

        Raises:
            ValueError: ``backbone.init_cfg`` names no file, or the file does not fit.
        """
        checkpoint = (self.backbone.init_cfg or {}).get('checkpoint')
        if not checkpoint:
            raise ValueError('model.backbone.init_cfg names no weights, and CLIPCAM is not trained')
        self.backbone.init_weights()
        self.cam_head.projection.load_state_dict(dict(weight=read_clip_projection(checkpoint)))
        self._is_init = True

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> Mapping[str, Tensor]:
        """Refuse to be trained."""
        raise RuntimeError('CLIPCAM is not trained: use tools/make_pseudo_labels.py, and train on its labels')

    def raw_cams(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """CAMs (B, C, h, w) >= 0 on the token grid, each with a maximum of 1; 0 for classes that are not present.

        Args:
            images: (B, 3, H, W), normalised.
            labels: multi-hot (B, C); None: all classes are present.
        """
        count = self.cam_head.num_classes
        labels = images.new_ones(len(images), count) if labels is None else labels
        tokens = self.backbone.tokens(images, record=self._recorder())
        grid = tokens.maps[-1].shape[-2:]
        with torch.autocast(images.device.type, enabled=False):
            present = PresentClasses.of(labels, max(1, int(labels.sum(dim=1).max())))
            entering = tokens.recorded[-2][0].float()  # the last block
            cam = normalize_cam(self._grad_cam(entering, labels > 0, present).unflatten(-1, grid))
            if self.affinity is not None:
                cam = self.affinity.spread(cam, self.affinity.of_attention(tokens))
            cam = cam * present.score[..., None, None]  # (B, K, h, w)
        full = cam.new_zeros(len(cam), count, *grid)
        return full.scatter_(1, present.index[..., None, None].expand_as(cam), cam)

    @torch.no_grad()
    def tag_scores(self, images: Tensor) -> Tensor:
        """Softmax of each class alone against all names of background; see the contract."""
        token = self.backbone.tokens(images).cls_token[:, 0]
        together = self.cam_head(token, token.new_ones(len(token), self.cam_head.num_classes, dtype=torch.bool))
        background = 1 - together.sum(dim=-1, keepdim=True)
        return together / (together + background).clamp(min=torch.finfo(together.dtype).tiny)

    def _recorder(self) -> Callable[[SelfAttention], tuple[Tensor, ...]]:
        """What is kept of a pass: the tokens that enter the last block, and what the affinity needs."""
        spread = self.affinity.recorder(self.backbone) if self.affinity else lambda attention: ()

        def record(attention: SelfAttention) -> tuple[Tensor, ...]:
            kept = spread(attention)
            return (attention.tokens,) if attention.block == self.backbone.num_layers - 2 else kept

        return record

    def _grad_cam(self, entering: Tensor, labels: Tensor, present: PresentClasses) -> Tensor:
        """Grad-CAMs (B, K, N) >= 0 of K classes per image, of the tokens (B, n, D) that enter the last block."""
        with torch.enable_grad():
            features = self.backbone.layers[-1].ln1(entering).detach().requires_grad_()
            probability = self.cam_head(self._class_token(features, entering), labels)  # (B, C)
            gradients = [
                torch.autograd.grad(one.sum(), features, retain_graph=True)[0][:, 1:].mean(dim=1)
                for one in probability.gather(1, present.index).unbind(dim=1)
            ]
        weights = torch.stack(gradients, dim=1)  # (B, K, D)
        return (weights @ features.detach()[:, 1:].mT).relu()

    def _class_token(self, features: Tensor, entering: Tensor) -> Tensor:
        """The class token (B, D) behind the last block: one row of its attention, of ``features`` (B, n, D)."""
        layer = self.backbone.layers[-1]
        attn = layer.attn
        qkv = attn.qkv(features).unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = qkv  # each (B, heads, n, d)
        mixed = attention_map(query[:, :, :1], key) @ value  # (B, heads, 1, d)
        token = entering[:, 0] + attn.gamma1(attn.proj(mixed.flatten(1)))
        return self.backbone.ln1(layer.ffn(layer.ln2(token), identity=token))
