"""Our nnU-Net trainers. nnU-Net finds them here by name, through the environment variable nnUNet_extTrainer."""

from __future__ import annotations

from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoDA import nnUNetTrainerNoDA

WARM_UP_FRACTION = 0.05
POLY_EXPONENT = 0.9


class WarmUpPoly(torch.optim.lr_scheduler.LRScheduler):
    """The rate rises linearly to `peak`, then falls as (1 - t)^0.9. It depends on the epoch alone, so resuming needs nothing."""

    def __init__(self, optimizer: torch.optim.Optimizer, peak: float, epochs: int) -> None:
        self.peak, self.epochs = peak, epochs
        self.warm_up = max(1, round(WARM_UP_FRACTION * epochs))
        super().__init__(optimizer)

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        if epoch < self.warm_up:
            return self.peak * (epoch + 1) / (self.warm_up + 1)
        return self.peak * (1 - (epoch - self.warm_up) / max(1, self.epochs - self.warm_up)) ** POLY_EXPONENT

    def step(self, epoch: int | None = None) -> None:
        """Sets the rate of `epoch`; nnU-Net calls this at the start of each."""
        rate = self.rate(epoch or 0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._last_lr = [rate] * len(self.optimizer.param_groups)


class LiverLesionSegPaperTrainer(nnUNetTrainerNoDA):
    """The recipe of Natali et al. (2025): Adam at 0.01, polynomial schedule with warm-up, no augmentation, Dice + cross-entropy in equal parts.

    nnU-Net's loss is that already. The length of the warm-up is not in the paper; it is 5 % of the epochs here.
    """

    def configure_optimizers(self) -> tuple[Any, Any]:
        """Adam and its schedule."""
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, WarmUpPoly(optimizer, self.initial_lr, self.num_epochs)


class LiverLesionSegTrainer(nnUNetTrainer):
    """nnU-Net's own recipe (augmentation, SGD with Nesterov momentum, Dice + cross-entropy) for short trainings: the rate is warmed up."""

    def configure_optimizers(self) -> tuple[Any, Any]:
        """SGD as nnU-Net sets it, and the schedule."""
        optimizer = torch.optim.SGD(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay, momentum=0.99, nesterov=True)
        return optimizer, WarmUpPoly(optimizer, self.initial_lr, self.num_epochs)
