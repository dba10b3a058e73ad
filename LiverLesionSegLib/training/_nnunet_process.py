"""What runs in the process of its own that nnU-Net gets: `python -m LiverLesionSegLib.training._nnunet_process {plan|train} JSON`.

nnU-Net reads its environment variables at import, prints, and starts pools; in a process of its own none of that touches the caller.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

from ..segmentation._nnunet_plans import takes_box
from .curve import CURVE, CURVE_COLUMNS
from .trainers import LEFT_OUT


def _skip_primus() -> None:
    """nnU-Net imports each of its trainer modules to find one by name; this one needs torchvision, which need not fit the torch that is there."""
    name = f"nnunetv2.training.nnUNetTrainer.primus.{LEFT_OUT}"
    sys.modules.setdefault(name, types.ModuleType(name))


def plan(order: dict[str, Any]) -> None:
    """Fingerprint, nnU-Net's own plans, our configuration put into them, preprocessing."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess

    number, processes = int(order["dataset_number"]), int(order["processes"])
    extract_fingerprints([number], num_processes=processes, check_dataset_integrity=True, show_progress_bar=False)
    plan_experiments([number])
    folder = Path(order["preprocessed"])
    own = json.loads((folder / "nnUNetPlans.json").read_text(encoding="utf-8"))
    name, kind = order["plans_name"], order["configuration_name"]
    configuration = {**own["configurations"][kind], **order["configuration"], "data_identifier": f"{name}_{kind}"}
    if takes_box(json.loads((folder / "dataset.json").read_text(encoding="utf-8"))):
        # Plans speak of the ultrasound; the box is no measurement and stays as it is.
        for key, value in (("normalization_schemes", "NoNormalization"), ("use_mask_for_norm", False)):
            configuration[key] = [configuration[key][0], value]
    merged = {**own, "plans_name": name, "configurations": {kind: configuration}, **order["plans"]}
    (folder / f"{name}.json").write_text(json.dumps(merged, indent=2) + "\n", encoding="utf-8")
    preprocess([number], name, configurations=(kind,), num_processes=(processes,), show_progress_bar=False)


def train(order: dict[str, Any]) -> None:
    """nnU-Net's training loop alone; validation is left to the path that ships."""
    import random

    import numpy as np
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint

    if order["device"] == "cpu":
        torch.set_num_threads(int(order["threads"]))
    torch.manual_seed(int(order["seed"]))
    trainer = get_trainer_from_args(
        order["dataset"],
        order["configuration_name"],
        0,
        order["trainer"],
        order["plans_name"],
        bool(order["resume"]),
        torch.device(order["device"]),
    )
    trainer.num_epochs = int(order["epochs"])
    trainer.num_iterations_per_epoch = int(order["iterations_per_epoch"])
    trainer.num_val_iterations_per_epoch = int(order["validation_iterations"])
    trainer.save_every = int(order["save_every"])
    maybe_load_checkpoint(trainer, bool(order["resume"]), False)
    if "start_from" in order:
        _start_from(trainer, Path(order["start_from"]))
    if not trainer.was_initialized:
        # Now rather than when training starts: networks of other sizes draw other numbers of weights, and the images must be drawn alike for all.
        trainer.initialize()
    # A resumed training must not see again, in the same order, what it saw from its start.
    state = (int(order["seed"]) * 1_000_003 + int(trainer.current_epoch)) % 2**32
    random.seed(state)
    np.random.seed(state)  # noqa: NPY002 (nnU-Net's loaders draw from it)
    torch.manual_seed(state)
    _let_the_network_draw_apart(trainer, state)
    _keep_checkpoints_whole(trainer)
    _keep_curve(trainer)
    trainer.run_training()


def _start_from(trainer: Any, model: Path) -> None:
    """Puts a model's weights into the trainer's network."""
    import torch

    from ..segmentation.model import load_model

    trainer.initialize()
    trainer.network.load_state_dict({name: torch.from_numpy(array) for name, array in load_model(model).weights.state.items()})


def _let_the_network_draw_apart(trainer: Any, seed: int) -> None:
    """What a network drops out is drawn from numbers of its own, so that images are drawn and changed alike for one with dropout and one without.

    On a GPU that is so anyhow; loaders in processes of their own (workers) draw as they like, for every network.
    """
    import torch

    step = trainer.train_step
    own = torch.Generator().manual_seed(seed).get_state()

    def step_apart(batch: Any) -> Any:
        nonlocal own
        others = torch.get_rng_state()
        torch.set_rng_state(own)
        try:
            return step(batch)
        finally:
            own = torch.get_rng_state()
            torch.set_rng_state(others)

    trainer.train_step = step_apart


def _keep_checkpoints_whole(trainer: Any) -> None:
    """A checkpoint is written beside its place and then renamed: one that is killed half-way through leaves the one before."""
    save = trainer.save_checkpoint

    def save_whole(filename: str) -> None:
        save(filename + ".part")
        if Path(filename + ".part").is_file():
            Path(filename + ".part").replace(filename)

    trainer.save_checkpoint = save_whole


def _keep_curve(trainer: Any) -> None:
    """After every epoch the whole learning curve as CSV, instead of nnU-Net's picture, which takes seconds to draw."""
    target = Path(trainer.output_folder) / CURVE

    def write(_folder: str) -> None:
        logged = trainer.logger.get_checkpoint()
        columns = {name: logged[key] for name, key in CURVE_COLUMNS.items()}
        seconds = [end - start for start, end in zip(logged["epoch_start_timestamps"], logged["epoch_end_timestamps"], strict=False)]
        lines = [",".join(("epoch", "iterations", *columns, "seconds"))]
        for epoch, took in enumerate(seconds):
            values = (f"{float(values[epoch]):.6g}" for values in columns.values())
            lines.append(",".join((str(epoch + 1), str((epoch + 1) * trainer.num_iterations_per_epoch), *values, f"{took:.2f}")))
        part = target.with_suffix(".part")
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
        part.replace(target)

    trainer.logger.plot_progress_png = write


if __name__ == "__main__":
    _skip_primus()
    {"plan": plan, "train": train}[sys.argv[1]](json.loads(sys.argv[2]))
