"""The simulated study: cases by seeds, data sets, training, threshold, bundle, and the table of what the model gives on every set.

`python benchmarks/study.py FOLDER` runs it all through the product's own commands, on one core; FOLDER lies outside the repository. Every step is
skipped where its output is there, so a study that was stopped goes on. `--largest 3 --iterations 20` is a rehearsal of a few minutes.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from _study_measures import measure, summary
from _study_sets import FRAMES, MORE, SETS, StudySet, make_set, scaled

from LiverLesionSegLib.cli import main as command
from LiverLesionSegLib.cohort import case_box, load_case, mask_onto_grid, read_cases
from LiverLesionSegLib.evaluation.curves import VoxelCurves
from LiverLesionSegLib.segmentation import Predictor, load_model
from LiverLesionSegLib.training import model_card, probability_of, results_folder

STEPS = ("make", "export", "train", "tune", "bundle", "measure", "full", "evaluate")
COLUMNS = (
    ("dice", "Dice", "{:.3f}"), ("worst_dice", "worst", "{:.2f}"), ("hd95_mm", "HD95 mm", "{:.1f}"), ("rvd", "RVD", "{:.2f}"),
    ("detected", "detected", "{:.0%}"), ("box_spread", "sd of boxes", "{:.3f}"), ("ellipsoid_dice", "ellipsoid", "{:.2f}"),
    ("growing_dice", "growing", "{:.2f}"), ("ahead_of_both", "ahead of both", "{:.0%}"), ("empty", "empty", "{:.0%}"),
    ("nearly_empty", "< 0.1 mL", "{:.0%}"), ("seconds", "s", "{:.1f}"),
)  # fmt: skip


def run(*words: object) -> None:
    """One of the product's commands; ends the study where it fails."""
    print("liverlesionseg " + " ".join(map(str, words)), flush=True)
    code = command([str(word) for word in words])
    if code:
        sys.exit(code)


def write_table(path: Path, tables: Sequence[Path]) -> Path:
    """One cases.csv of several, its paths relative to it; the column set says which a case is of."""
    rows: list[dict[str, str]] = []
    for table in tables:
        with table.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                for column in ("volume", "truth", "roi", "sweep", "config", "weights"):
                    if row.get(column):
                        row[column] = os.path.relpath(table.parent / row[column], path.parent)
                rows.append({**row, "set": table.parent.name.replace("_", " ")})
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def measured(folder: Path, sets: Sequence[StudySet], options: argparse.Namespace, bundle: Path) -> dict[str, list[dict[str, Any]]]:
    """set -> results of its cases; each case's is kept, so that it is measured once for a model."""
    model = load_model(bundle)
    predictor = Predictor(model, options.device, threads=options.threads)
    threshold = model.threshold_for(predictor.inference_path)
    kept = folder / "measured" / model.model_id[:12]
    found: dict[str, list[dict[str, Any]]] = {}
    for one in sets:
        table = folder / "data" / one.name / "cases.csv"
        if one.split == "train" or not table.is_file():
            continue
        found[one.name] = []
        for case in read_cases(table)[: one.count]:
            record = kept / f"{case.name}.json"
            if not record.is_file():
                record.parent.mkdir(parents=True, exist_ok=True)
                result = measure(case, predictor, threshold, options.other_boxes if one.name in ("test", "background_test") else 0)
                record.write_text(json.dumps(result), encoding="utf-8")
                print(f"{case.name}: {result.get('model', {}).get('dice', math.nan):.3f} {result.get('refused', '')}", flush=True)
            found[one.name].append(json.loads(record.read_text(encoding="utf-8")))
    return found


def as_markdown(found: dict[str, list[dict[str, Any]]]) -> str:
    """One line a set, medians."""
    lines = ["| set | cases | " + " | ".join(title for _, title, _ in COLUMNS) + " |", "| --- " * (len(COLUMNS) + 2) + "|"]
    for name, results in found.items():
        values = summary(results)
        cells = ["" if math.isnan(values[key]) else style.format(values[key]) for key, _, style in COLUMNS]
        refused = f" ({values['refused']:.0f} refused)" if values["refused"] else ""
        lines.append(f"| {name} | {values['cases']:.0f}{refused} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def by_kind(found: dict[str, list[dict[str, Any]]]) -> str:
    """The test set's Dice by echogenicity and by size."""
    lesions = [r for r in found.get("test", []) if "ellipsoid" in r]
    groups = {f"{kind}-echoic": [r for r in lesions if r["echogenicity"] == kind] for kind in ("hypo", "hyper", "mixed")}
    groups |= {"below 2 mL": [r for r in lesions if r["truth_ml"] < 2], "2 mL and more": [r for r in lesions if r["truth_ml"] >= 2]}
    lines = ["| test cases | number | Dice | HD95 mm |", "| --- | --- | --- | --- |"]
    for name, results in groups.items():
        if results:
            values = summary(results)
            lines.append(f"| {name} | {len(results)} | {values['dice']:.3f} | {values['hd95_mm']:.1f} |")
    return "\n".join(lines) + "\n"


def area_precision_recall(folder: Path, model: Path, sets: Sequence[str], options: argparse.Namespace) -> float:
    """Area under precision-recall over every voxel that the model looks at, in the cases of `sets`."""
    predictor = Predictor(load_model(model), options.device, threads=options.threads)
    curves = VoxelCurves()
    for name in sets:
        for case in read_cases(folder / "data" / name / "cases.csv"):
            loaded = load_case(case)
            probability, _ = probability_of(loaded, case_box(loaded), predictor)
            assert loaded.truth is not None
            curves.add(probability.array, mask_onto_grid(loaded.truth, probability.grid).array)
    return curves.area_precision_recall()


def main() -> None:
    """Runs the steps asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", default="make,export,train,tune,bundle,measure", help=f"of {','.join(STEPS)}")
    parser.add_argument("--largest", type=int, help="at most so many cases a set")
    parser.add_argument("--more", action="store_true", help="train on more than the paper's cohort, for a model that ships")
    parser.add_argument("--frames", action="store_true", help="--more, and the cases for the network of single frames: FOLDER/cases_frames.csv")
    parser.add_argument("--background", type=Path, nargs=2, metavar=("SWEEP", "CONFIG"), help="a recorded sweep of liver to put lesions into")
    parser.add_argument("--name", default="crop", help="of this training; several can share the cases")
    parser.add_argument("--plan", default="crop_coarse")
    parser.add_argument("--spacing", type=float, help="of the crops, mm, for a plan at another voxel size than 1.5")
    parser.add_argument("--hide-box", action="store_true", help="train on the images alone")
    parser.add_argument("--trainer", default="LiverLesionSegTrainer")
    parser.add_argument("--iterations", type=int, default=4000)
    parser.add_argument("--full-iterations", type=int, default=1000)
    parser.add_argument("--epoch", type=int, default=50)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--other-boxes", type=int, default=10, help="more boxes a test case, for the spread")
    options = parser.parse_args()
    options.more |= options.frames
    steps = options.steps.split(",")
    folder: Path = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    sets = scaled((*SETS, *MORE) if options.more else SETS, options.largest)
    frames = scaled(FRAMES, options.largest) if options.frames else []
    place = folder / options.name
    place.mkdir(exist_ok=True)

    if "make" in steps:
        for one in (*sets, *frames):
            if make_set(folder / "data", one, tuple(options.background) if options.background else None) is None:
                print(f"{one.name}: left out, for want of --background", flush=True)
    tables = [folder / "data" / one.name / "cases.csv" for one in sets if one.split != "test"]
    table = write_table(folder / ("cases_more.csv" if options.more else "cases.csv"), [path for path in tables if path.is_file()])
    if frames:
        tables += [folder / "data" / one.name / "cases.csv" for one in frames]
        write_table(folder / "cases_frames.csv", [path for path in tables if path.is_file()])
    common = ("--epoch", options.epoch, "--device", options.device, "--threads", options.threads, "--resume")
    other = (() if options.spacing is None else ("--spacing", options.spacing)) + (("--hide-box",) if options.hide_box else ())
    data = folder / ("Dataset103_more" if options.more else "Dataset101_crop") if not other else folder / f"Dataset104_{options.name}"
    if "export" in steps and not data.is_dir():
        run("export", table, "--output", data, *other)
    if "train" in steps:
        run("train", "--data", data, "--plan", options.plan, "--trainer", options.trainer, "--output", place / "training",
            "--iterations", options.iterations, *common)  # fmt: skip
    if "tune" in steps and not (results_folder(place / "training") / "threshold.json").is_file():
        also = ("--also", "openvino") if find_spec("openvino") else ()
        run("tune", place / "training", "--data", data, "--device", options.device, "--threads", options.threads, *also)
    bundle = place / "bundle"
    if "bundle" in steps and not bundle.is_dir():
        run("bundle", place / "training", "--output", bundle)
    if "measure" in steps:
        found = measured(folder, sets, options, bundle)
        text = as_markdown(found) + "\n" + by_kind(found)
        (place / "results.md").write_text(text, encoding="utf-8")
        (place / "results.json").write_text(json.dumps({name: summary(results) for name, results in found.items()}, indent=1), encoding="utf-8")
        trained = results_folder(place / "training")
        template = Path(__file__).with_name("study_card.md").read_text(encoding="utf-8")
        (bundle / "MODEL_CARD.md").write_text(model_card(load_model(trained), trained, template=template, table=text), encoding="utf-8")
        print(text)
    if "full" in steps:
        whole = folder / "Dataset102_full"
        if not whole.is_dir():
            run("export", table, "--output", whole, "--mode", "full")
        run("train", "--data", whole, "--plan", "full", "--trainer", options.trainer, "--output", folder / "full",
            "--iterations", options.full_iterations, *common)  # fmt: skip
        if not (results_folder(folder / "full") / "threshold.json").is_file():
            run("tune", folder / "full", table)
        areas = {name: area_precision_recall(folder, model, ["test"], options)
                 for name, model in (("crop", bundle), ("full", results_folder(folder / "full")))}  # fmt: skip
        print(f"area under precision-recall, test: crop {areas['crop']:.3f}, full {areas['full']:.3f}, {areas['crop'] / areas['full']:.1f} times")
    if "evaluate" in steps:
        whole = [one.name for one in sets if one.split == "test"]
        models = ["--model", f"crop={bundle}"]
        for name, names in (("study", ["test", "prospective"]), ("study_all", whole)):
            cases = write_table(folder / f"{name}.csv", [folder / "data" / one / "cases.csv" for one in names])
            more = ["--model", f"full={results_folder(folder / 'full')}"] if name == "study" and (folder / "full").is_dir() else []
            run("evaluate", cases, "--output", place / name, *models, *more, "--methods", "nnunet,region-growing,ellipsoid", "--by", "set")


if __name__ == "__main__":
    main()
