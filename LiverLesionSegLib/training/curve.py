"""The learning curve of a training: one line an epoch in a CSV file, and a picture of it."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from ..errors import InputError
from ..files.atomic import whole_file

CURVE = "learning_curve.csv"
CURVE_COLUMNS = {
    "learning_rate": "lrs",
    "training_loss": "train_losses",
    "validation_loss": "val_losses",
    "validation_dice": "mean_fg_dice",
}
"""Column of the CSV file -> nnU-Net's name for it. The Dice is of random tiles of the validation images, at 0.5."""


def read_curve(results: Path) -> dict[str, list[float]]:
    """Column -> value of every epoch so far; no column at all before the first epoch has ended. Raises InputError for a damaged file."""
    path = Path(results) / "fold_0" / CURVE
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            lines = list(csv.DictReader(stream))
        return {name: [float(line[name]) for line in lines] for name in (lines[0] if lines else ())}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: is not a learning curve ({type(error).__name__}); remove it.") from error


def late_mean(curve: Mapping[str, list[float]], column: str, epochs: int = 5) -> float:
    """The mean of a column over the last epochs: one epoch looks at a few random tiles only. NaN without any."""
    values = [value for value in curve.get(column, [])[-epochs:] if math.isfinite(value)]
    return sum(values) / len(values) if values else math.nan


def epochs_done(results: Path) -> int:
    """How many epochs a training in `results` has behind it."""
    return len(read_curve(results).get("epoch", ()))


def draw_curve(results: Path, path: Path) -> bool:
    """The learning curve as PNG at `path`; False, and no picture, before the first epoch has ended."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curve = read_curve(results)
    if not curve.get("epoch"):
        return False
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    losses = figure.subplots()
    x = curve["iterations"]
    losses.plot(x, curve["training_loss"], color="#0072B2", label="loss, training")
    losses.plot(x, curve["validation_loss"], color="#D55E00", label="loss, validation")
    losses.set_xlabel("iterations")
    losses.set_ylabel("loss (cross-entropy - Dice)")
    losses.grid(alpha=0.3)
    dice = losses.twinx()
    dice.plot(x, curve["validation_dice"], color="#009E73", linewidth=1, label="Dice of validation tiles")
    dice.set_ylim(0, 1)
    dice.set_ylabel("Dice")
    lines = [*losses.get_lines(), *dice.get_lines()]
    figure.legend(lines, [str(line.get_label()) for line in lines], loc="outside lower center", ncols=3, frameon=False)
    hours = sum(curve["seconds"]) / 3600
    losses.set_title(f"{len(x)} epochs, {x[-1]:.0f} iterations, {hours:.2f} h", fontsize=10)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110)
    return True
