"""Training around nnU-Net's own commands: data sets out of cases, plans, training."""

from __future__ import annotations

from .dataset import TrainingCase, write_dataset
from .nnunet import TrainSettings, Workplace, prepare, train

__all__ = ["TrainSettings", "TrainingCase", "Workplace", "prepare", "train", "write_dataset"]
