"""`tune RESULTS CASES.csv` or `tune RESULTS --data DIR`: the threshold with the highest F1 on the validation cases."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.atomic import check_writable, whole_file
from .arguments import count
from .run import Run

if TYPE_CHECKING:
    from ..segmentation.model import ModelBundle
    from ..training import Tuned


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The threshold is written into the results folder, where segment and bundle look for it."""
    parser.add_argument("results", type=Path, metavar="RESULTS", help="what train wrote, or an nnU-Net results folder")
    parser.add_argument("cases", type=Path, nargs="?", metavar="CASES.csv", help="the table with the validation cases")
    parser.add_argument("--data", type=Path, metavar="DIR", help="instead of the table: the data set that export wrote, with its very boxes")
    parser.add_argument("--split", choices=("validation", "train", "test"), default="validation")
    parser.add_argument("--output", type=Path, metavar="threshold.json", help="another copy of the threshold's record")
    parser.add_argument("--device", default="cpu", help="cpu or cuda; never changed silently")
    parser.add_argument(
        "--also",
        action="append",
        choices=("openvino",),
        default=[],
        help="another backend; where it agrees within 1e-3 the threshold holds for it too",
    )
    parser.add_argument("--threads", type=count, metavar="N", help="processor threads (torch's choice)")


def run(options: argparse.Namespace, run: Run) -> int:
    """Runs the path that ships over the validation cases and keeps threshold, curve, areas, cases and model id."""
    from ..ct.network import is_ct_network
    from ..errors import InputError
    from ..segmentation import load_model
    from ..segmentation.model import THRESHOLD, write_threshold
    from ..training import results_folder

    if (options.cases is None) == (options.data is None):
        raise InputError("Give the table of cases, or --data with the exported data set, and not both.")
    if options.output is not None:
        check_writable(options.output)
    folder = results_folder(options.results)
    if is_ct_network(folder):
        return _of_ct(options, folder, run)
    with run.stage("load"), _set_aside(folder / THRESHOLD):
        bundle = load_model(folder)
    tuned = _of_frames(options, bundle, run) if bundle.single_frames else _of_crops(options, bundle, run)
    with run.stage("write"):
        write_threshold(folder, bundle.model_id, tuned.threshold, agreeing_paths=tuned.agreeing_paths, details=tuned.details)
        if options.output is not None:
            with whole_file(options.output) as temporary:
                temporary.write_bytes((folder / THRESHOLD).read_bytes())
            run.output("copy", options.output)
    run.output("threshold", folder / THRESHOLD)
    areas = {key: tuned.details[key] for key in ("f1", "precision", "recall", "area_precision_recall", "area_roc")}
    run.found.update(threshold=tuned.threshold.value, model_id=bundle.model_id, inference_path=tuned.threshold.inference_path, **areas)
    run.found.update(cases=list(tuned.threshold.cases), warnings=list(bundle.warnings))
    for path, worst in tuned.details.get("largest_difference", {}).items():
        verdict = "the threshold holds for it too" if path in tuned.agreeing_paths else "warning: it needs a threshold of its own"
        run.summary.append(f"{path}: differs by at most {worst:.1e}; {verdict}")
    run.summary.append(
        f"threshold {tuned.threshold.value:.4f}: F1 {tuned.best.f1:.3f}, precision {tuned.best.precision:.3f}, recall {tuned.best.recall:.3f} "
        f"over {len(tuned.threshold.cases)} cases; area under precision-recall {areas['area_precision_recall']:.3f}, ROC {areas['area_roc']:.3f}"
    )
    if options.split != "validation":
        run.summary.append(f"warning: tuned on {options.split} cases, so figures on these are too good")
    return 0


def _of_crops(options: argparse.Namespace, bundle: ModelBundle, run: Run) -> Tuned:
    from ..cohort import read_cases
    from ..segmentation import Predictor
    from ..training import exported_cases, tune

    cases, boxes = (read_cases(options.cases), None) if options.cases is not None else exported_cases(options.data)
    with run.stage("load"):
        predictor = Predictor(bundle, options.device, threads=options.threads)
        others = [Predictor(bundle, backend=backend, threads=options.threads) for backend in dict.fromkeys(options.also)]
    run.device = predictor.device
    with run.stage("tune"):
        return tune(cases, predictor, boxes=boxes, split=options.split, others=others, progress=run.progress)


def _of_frames(options: argparse.Namespace, bundle: ModelBundle, run: Run) -> Tuned:
    from ..cohort import read_cases
    from ..segmentation import FramePredictor
    from ..training import exported_frames, tune_frames

    cases, frames = (read_cases(options.cases), None) if options.cases is not None else exported_frames(options.data)
    with run.stage("load"):
        predictor = FramePredictor(bundle, options.device, threads=options.threads)
        others = [FramePredictor(bundle, backend=backend, threads=options.threads) for backend in dict.fromkeys(options.also)]
    run.device = predictor.device
    with run.stage("tune"):
        return tune_frames(cases, predictor, frames=frames, split=options.split, others=others, progress=run.progress)


def _of_ct(options: argparse.Namespace, folder: Path, run: Run) -> int:
    """Of liver and tumour in CT the threshold is the tumour's; cases are the data set's own."""
    from ..ct import find_source
    from ..ct.network import CtNetwork, tune_ct
    from ..errors import InputError
    from ..segmentation.model import THRESHOLD, write_threshold

    if options.data is None or options.also:
        raise InputError(f"{folder}: is a network of liver and tumour in CT; give --data with the data set that ct-export wrote, and no --also.")
    source = find_source(options.data, "dataset", split=options.split)
    with run.stage("load"), _set_aside(folder / THRESHOLD):
        network = CtNetwork(folder, options.device, threads=options.threads)
    with run.stage("tune"):
        tuned = tune_ct(source, network, options.split, progress=run.progress)
    with run.stage("write"):
        write_threshold(folder, network.model_id, tuned.threshold, details=tuned.details)
        if options.output is not None:
            with whole_file(options.output) as temporary:
                temporary.write_bytes((folder / THRESHOLD).read_bytes())
            run.output("copy", options.output)
    run.output("threshold", folder / THRESHOLD)
    run.device = options.device
    run.found.update(threshold=tuned.threshold.value, label="tumour", model_id=network.model_id, inference_path=network.inference_path)
    run.found.update(f1=tuned.best.f1, precision=tuned.best.precision, recall=tuned.best.recall, cases=list(tuned.threshold.cases))
    run.summary.append(
        f"threshold of the label tumour {tuned.threshold.value:.4f}: F1 {tuned.best.f1:.3f}, precision {tuned.best.precision:.3f}, "
        f"recall {tuned.best.recall:.3f} over {len(tuned.threshold.cases)} cases"
    )
    return 0


@contextmanager
def _set_aside(path: Path) -> Iterator[None]:
    """An earlier threshold, perhaps of an earlier checkpoint, must not stand in the way of loading; it is there until the new one takes its place."""
    aside = path.with_name(path.name + ".before")
    there = path.is_file()
    if there:
        path.replace(aside)
    try:
        yield
    finally:
        if there:
            aside.replace(path)
