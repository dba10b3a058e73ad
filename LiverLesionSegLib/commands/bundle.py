"""`bundle RESULTS --output DIR`: the model folder that ships and that segment takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from .run import Run

LARGEST_MB, LARGEST_FRAMES_MB = 15, 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Weights go into the bundle without pickle and without doubles."""
    parser.add_argument("results", type=Path, metavar="RESULTS", help="what train wrote, or an nnU-Net results folder, with its tuned threshold")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new folder")
    parser.add_argument(
        "--card", type=Path, metavar="FILE", help="a MODEL_CARD.md of your own; {data}, {recipe}, {compute}, {threshold}, {results} are filled in"
    )
    parser.add_argument("--table", type=Path, metavar="FILE", help="results as Markdown, put into the card")


def run(options: argparse.Namespace, run: Run) -> int:
    """Loads and verifies the trained model, writes the bundle and its card."""
    from dataclasses import replace

    from ..segmentation import load_model, write_bundle
    from ..training import model_card, results_folder
    from ..training.card import shipped_dataset

    template = "" if options.card is None else _text(options.card)
    table = "" if options.table is None else _text(options.table)
    folder = results_folder(options.results)
    with run.stage("load"):
        model = load_model(folder)
    card = model_card(model, folder, template=template, table=table)
    with run.stage("write"):
        shipped = replace(model, dataset=shipped_dataset(model.dataset))
        largest = LARGEST_FRAMES_MB if model.single_frames else LARGEST_MB
        write_bundle(options.output, shipped, card_text=card, largest_bytes=largest * 10**6)
    size = sum(path.stat().st_size for path in options.output.iterdir()) / 1e6
    run.output("bundle", options.output)
    threshold = None if model.threshold is None else model.threshold.value
    run.found.update(model_id=model.model_id, threshold=threshold, megabytes=round(size, 2), warnings=list(model.warnings))
    run.summary.append(f"model {model.model_id[:12]}, {size:.1f} MB, threshold {'not tuned' if threshold is None else f'{threshold:.4f}'}")
    if threshold is None:
        run.summary.append("warning: no threshold was tuned; segment will need --threshold")
    run.summary += [f"warning: {text}" for text in model.warnings]
    return 0


def _text(path: Path) -> str:
    from ..errors import InputError

    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({type(error).__name__}); check the file.") from error
