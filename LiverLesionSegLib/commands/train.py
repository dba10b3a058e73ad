"""`train --data DIR --plan crop --output DIR`: nnU-Net training, in a process of its own, resumable."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import count
from .run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A checkpoint is written after every few epochs; --resume goes on from it."""
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="data set that export wrote")
    parser.add_argument("--plan", default="crop_coarse", metavar="PLAN", help="a folder of nnunet_plans, or a plan.json (crop_coarse)")
    parser.add_argument("--trainer", default="LiverLesionSegTrainer", metavar="NAME", help="a class of nnU-Net's or of nnunet_plans/trainers")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="preprocessed data, checkpoints and learning curve")
    parser.add_argument("--start-from", type=Path, metavar="DIR", help="begin with the weights of this model of the same plan")
    parser.add_argument("--iterations", type=count, default=4000, metavar="N", help="batches altogether (4000)")
    parser.add_argument("--epoch", type=count, default=50, metavar="N", help="batches between validations (50)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps; never changed silently")
    parser.add_argument("--threads", type=count, default=1, metavar="N", help="processor threads (1)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that load and augment (none on the cpu, else 6)")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--resume", action="store_true", help="go on with a training that was stopped; without one, start")


def run(options: argparse.Namespace, run: Run) -> int:
    """Plans and preprocesses once, trains, draws the learning curve (after a stop, too)."""
    from ..errors import InputError
    from ..training import TrainSettings, begun, draw_curve, prepare_once, read_curve, train, workplace_for
    from ..training.curve import late_mean
    from ..training.trainers import check_trainer

    check_trainer(options.trainer)
    each = min(options.epoch, options.iterations)
    epochs = -(-options.iterations // each)
    settings = TrainSettings(
        trainer=options.trainer,
        epochs=epochs,
        iterations_per_epoch=each,
        validation_iterations=max(2, min(10, each // 4)),
        save_every=1,
        device=options.device,
        threads=options.threads,
        workers=options.workers if options.workers is not None else 0 if options.device == "cpu" else 6,
        seed=abs(options.seed),
        start_from=options.start_from,
    )
    workplace, dataset = workplace_for(options.output, options.data)
    with run.stage("prepare"):
        plans = prepare_once(workplace, dataset, options.plan, progress=run.progress)
    results = workplace.result(dataset, plans, settings.trainer)
    if begun(results) and not options.resume:
        raise InputError(f"{options.output}: holds a training already; give --resume to go on with it, or another --output.")
    try:
        with run.stage("train"):
            train(workplace, dataset, plans, settings, progress=run.progress)
    finally:
        if draw_curve(results, options.output / "learning_curve.png"):
            run.output("learning_curve", options.output / "learning_curve.png")
    curve = read_curve(results)
    run.output("results", results)
    run.device, run.threads = settings.device, settings.threads
    run.found.update(
        iterations=int(curve["iterations"][-1]),
        **{name: round(late_mean(curve, name), 6) for name in ("training_loss", "validation_loss", "validation_dice")},
        training_hours=round(sum(curve["seconds"]) / 3600, 4),
    )
    run.summary.append(f"{run.found['iterations']} iterations; Dice of validation tiles {run.found['validation_dice']:.3f} (at 0.5, last epochs).")
    return 0
