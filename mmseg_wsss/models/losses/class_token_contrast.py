"""Class token contrast (CTC): local crops of objects agree with the whole image, crops of background do not."""

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


def class_token_contrast(
    student: Tensor,
    teacher: Tensor,
    positive: Tensor,
    *,
    temperature: float = 0.5,
    eps: float = 1e-4,
    extra_negative_term: bool = False,
) -> Tensor:
    """ToCo, https://arxiv.org/abs/2303.01267, Eq. 4, with the minus sign missing in print; without overflow.

    For every anchor p (a teacher view), every positive q+ and the negatives q- of the same image:
    ``-log(exp(p.q+/t) / (exp(p.q+/t) + sum exp(p.q-/t) + eps))``, averaged over anchors and positives, then over
    images.

    Args:
        student: projections of all views (B, V, P), the global ones first; gradients flow into them.
        teacher: projections of the global views by the EMA teacher (B, G, P).
        positive: bool (B, V); True for the global views and the local crops that show an object.
        temperature: t.
        eps: keeps the denominator away from zero.
        extra_negative_term: add ``-log(1 / (1 + sum exp(p.q-/t) + eps))`` of every anchor to the sum whose mean over
            anchors and positives is taken, as the published code does.

    Returns:
        scalar >= 0.
    """
    with torch.autocast(student.device.type, enabled=False):
        logits = teacher.float() @ student.float().transpose(1, 2) / temperature  # (B, G, V)
    keep = positive[:, None, :]
    # log(sum exp(negatives) + eps), with eps as one more, constant, logit
    floor = logits.new_full((*logits.shape[:2], 1), eps).log()
    negatives = torch.cat((logits.masked_fill(keep, float('-inf')), floor), dim=-1).logsumexp(dim=-1, keepdim=True)
    terms = torch.logaddexp(logits, negatives) - logits  # (B, G, V)
    count = positive.sum(dim=1) * logits.shape[1]
    total = torch.where(keep, terms, 0).sum(dim=(1, 2))
    if extra_negative_term:
        total = total + F.softplus(negatives).sum(dim=(1, 2))
    return (total / count).mean()


@MODELS.register_module()
class ClassTokenContrastLoss(nn.Module):
    """:func:`class_token_contrast` with a weight (published: 0.5)."""

    def __init__(
        self,
        *,
        temperature: float = 0.5,
        eps: float = 1e-4,
        extra_negative_term: bool = False,
        loss_weight: float = 0.5,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f'temperature must be positive, got {temperature}')
        self.temperature = temperature
        self.eps = eps
        self.extra_negative_term = extra_negative_term
        self.loss_weight = loss_weight

    def forward(self, student: Tensor, teacher: Tensor, positive: Tensor) -> Tensor:
        """Weighted loss; arguments as in :func:`class_token_contrast`."""
        return self.loss_weight * class_token_contrast(
            student,
            teacher,
            positive,
            temperature=self.temperature,
            eps=self.eps,
            extra_negative_term=self.extra_negative_term,
        )
