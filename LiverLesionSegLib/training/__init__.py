"""Training around nnU-Net's own commands: data sets out of cases, plans, training, the tuned threshold and the bundle."""

from __future__ import annotations

from ..cohort import probability_of
from .card import model_card
from .curve import draw_curve, epochs_done, read_curve
from .dataset import TrainingCase, dataset_name, write_dataset
from .export import ExportSettings, export_cases
from .frame_tuning import exported_frames, tune_frames
from .frames import FrameExportSettings, export_frames
from .nnunet import TrainSettings, Workplace, begun, prepare, prepare_once, results_folder, train, workplace_for
from .tuning import Tuned, exported_cases, tune

__all__ = [
    "ExportSettings",
    "FrameExportSettings",
    "TrainSettings",
    "TrainingCase",
    "Tuned",
    "Workplace",
    "begun",
    "dataset_name",
    "draw_curve",
    "epochs_done",
    "export_cases",
    "export_frames",
    "exported_cases",
    "exported_frames",
    "model_card",
    "prepare",
    "prepare_once",
    "probability_of",
    "read_curve",
    "results_folder",
    "train",
    "tune",
    "tune_frames",
    "workplace_for",
    "write_dataset",
]
