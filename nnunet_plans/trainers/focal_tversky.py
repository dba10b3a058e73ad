"""Focal Tversky loss, and our trainer with its two published settings; schedule, augmentation and all else are those of Dice + cross-entropy."""

from __future__ import annotations

import torch
from liverlesionseg_trainers import LiverLesionSegTrainer
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import nn

LEAST_ERROR = 1e-6
"""Below it the loss is flat: the slope of a power less than 1 has no bound at 0."""


class FocalTverskyLoss(nn.Module):
    """(1 - TI)^gamma with the Tversky index TI = (TP + s) / (TP + alpha FN + beta FP + s) of the lesion, soft counts over the whole batch.

    alpha weights what is missed (FN) and beta what is found wrongly (FP): the convention of Abraham and Khan, "A novel focal Tversky loss function
    with improved attention U-Net for lesion segmentation", ISBI 2019, whose (0.7, 0.3) favours recall. Salehi et al., "Tversky loss function for
    image segmentation using 3D fully convolutional deep networks", MLMI 2017, have the two letters the other way round. gamma is the exponent itself,
    the 1/gamma of Abraham and Khan's formula (0.75 is their 4/3). (0.5, 0.5, 1) is the soft Dice loss.

    smooth: s, pixels; a batch without a lesion in which nothing is found then costs nothing, and every pixel found in it costs something.
    """

    def __init__(self, alpha: float, beta: float, gamma: float, smooth: float = 1.0) -> None:
        super().__init__()
        if not (alpha >= 0 and beta >= 0 and alpha + beta > 0 and gamma > 0 and smooth > 0):
            raise ValueError(f"alpha {alpha}, beta {beta}, gamma {gamma}, smooth {smooth}: none may be negative, only one of alpha and beta 0.")
        self.alpha, self.beta, self.gamma, self.smooth = alpha, beta, gamma, smooth

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of `logits` (B, 2, ...) against `target` (B, 1, ...), 1 where lesion."""
        lesion = torch.softmax(logits.float(), dim=1)[:, 1]
        truth = (target[:, 0] == 1).to(lesion.dtype)
        found_rightly = (lesion * truth).sum()
        missed, found_wrongly = truth.sum() - found_rightly, lesion.sum() - found_rightly
        error = self.alpha * missed + self.beta * found_wrongly
        return (error / (found_rightly + error + self.smooth)).clamp_min(LEAST_ERROR) ** self.gamma


class LiverLesionSegFocalTverskyTrainer(LiverLesionSegTrainer):
    """(alpha, beta, gamma) = (0.5, 0.5, 1)."""

    ALPHA, BETA, GAMMA = 0.5, 0.5, 1.0

    def _build_loss(self) -> nn.Module:
        loss = FocalTverskyLoss(self.ALPHA, self.BETA, self.GAMMA)
        built = super()._build_loss()
        return DeepSupervisionWrapper(loss, built.weight_factors) if isinstance(built, DeepSupervisionWrapper) else loss


class LiverLesionSegFocalTverskyRecallTrainer(LiverLesionSegFocalTverskyTrainer):
    """(alpha, beta, gamma) = (0.7, 0.3, 0.75): a missed pixel weighs more than twice one that is found wrongly."""

    ALPHA, BETA, GAMMA = 0.7, 0.3, 0.75
