"""The mean of two models' weights, as a results folder that `tune` and `bundle` take.

`python benchmarks/average_models.py START TRAINED OUTPUT [--share 0.5]`; TRAINED was trained on from START (`train --start-from START`). Between the
two lies a network that keeps what START knew and has what was learnt since (Wortsman et al. 2022, robust fine-tuning of zero-shot models). The share
is chosen on validation cases.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch

from LiverLesionSegLib.errors import InputError
from LiverLesionSegLib.segmentation import load_model
from LiverLesionSegLib.training import results_folder


def average(start: Path, trained: Path, output: Path, share: float) -> None:
    """Writes to `output`, a new folder, TRAINED's results with weights (1 - share) of START and `share` of TRAINED."""
    source = results_folder(trained)
    first, second = load_model(results_folder(start)), load_model(source)
    if first.configuration.values["architecture"] != second.configuration.values["architecture"]:
        raise InputError(f"{start} and {trained} are different networks; give a model and one that was trained on from it.")
    # Names that share an array go on sharing it, or the bundle would hold every weight several times.
    mean: dict[int, torch.Tensor] = {}
    for name, array in first.weights.state.items():
        if id(array) not in mean:
            both = (1 - share) * array + share * second.weights.state[name]
            mean[id(array)] = torch.from_numpy(np.asarray(both, dtype=array.dtype))  # batch normalisation counts batches in whole numbers
    state = {name: mean[id(array)] for name, array in first.weights.state.items()}
    axes = second.weights.mirroring_axes
    (output / "fold_0").mkdir(parents=True)
    checkpoint = {"network_weights": state, "trainer_name": second.weights.trainer, "inference_allowed_mirroring_axes": axes or None}
    checkpoint |= {"init_args": {"configuration": second.weights.configuration, "fold": 0}}
    torch.save(checkpoint, output / "fold_0" / "checkpoint_final.pth")
    for name in ("plans.json", "dataset.json"):
        shutil.copyfile(source / name, output / name)
    shutil.copyfile(source / "fold_0" / "learning_curve.csv", output / "fold_0" / "learning_curve.csv")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("start", type=Path)
    parser.add_argument("trained", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the weights trained on")
    options = parser.parse_args()
    average(options.start, options.trained, options.output, options.share)
