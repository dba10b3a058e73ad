"""U-Nets with other encoders in our training, one of them with a loss of its own."""

from __future__ import annotations

from typing import Any

import torch
from other_network import OtherNetworkTrainer

DICE_SHARE, FOCAL_SHARE, FOCUS = 0.8, 0.2, 2.0


class ResidualUNetTrainer(OtherNetworkTrainer):
    """nnU-Net's residual-encoder U-Net."""

    network_name = "residual-unet"


class DiceAndFocalLoss(torch.nn.Module):
    """0.8 (1 - soft Dice of the foreground) + 0.2 focal loss. Logits (B, C, ...), labels (B, 1, ...).

    Focal loss: mean of (1 - p)^2 (-log p), p the probability of the true class (Lin et al., ICCV 2017, without class weights). The soft Dice is
    nnU-Net's, per image or over the batch as the plan says.
    """

    def __init__(self, batch_dice: bool = True) -> None:
        super().__init__()
        from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
        from nnunetv2.utilities.helpers import softmax_helper_dim1

        self.dice = MemoryEfficientSoftDiceLoss(apply_nonlin=softmax_helper_dim1, batch_dice=batch_dice, do_bg=False, smooth=1e-5, ddp=False)

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar."""
        surprise = torch.nn.functional.cross_entropy(logits, labels[:, 0].long(), reduction="none")
        focal = ((1 - torch.exp(-surprise)) ** FOCUS * surprise).mean()
        # nnU-Net's Dice loss is minus the Dice.
        return DICE_SHARE * (1 + self.dice(logits, labels)) + FOCAL_SHARE * focal


class ResNet34UNetTrainer(OtherNetworkTrainer):
    """U-Net with the encoder of ResNet-34 and the loss that was published with it for liver CT."""

    network_name = "resnet34-unet"

    def _build_loss(self) -> Any:
        """0.8 Dice + 0.2 focal."""
        return DiceAndFocalLoss(self.configuration_manager.batch_dice)
