"""`demo`: the whole path on a simulated patient, from an OpenIGTLink connection to the lesion in a navigation scene, figures and a report."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from ..errors import InputError
from ..files.atomic import output_folder
from ..sweep.journal_format import JOURNAL_SUFFIX
from .arguments import random_seed
from .demo_report import write_report
from .loopback import record_over_loopback
from .reconstruct import reconstruct_sweep
from .run import Run
from .segment import Lesion, segment_by_growing, segment_by_network
from .shipped_model import DEFAULT_MODEL, missing_model

DEMO_SEED = 7
RESULTS = (
    *("report.html", "scene.mrb", "navigation.png", "slices.png", "lesion.seg.nrrd", "lesion.stl", "volume.nrrd", "volume_weights.nrrd"),
    *("demo.igs.mha", f"demo.igs.mha{JOURNAL_SUFFIX}", "scanner.igs.mha", "demo_truth.nrrd", "demo_roi.mrk.json", "config.xml"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All data is simulated."""
    parser.add_argument("--output", type=Path, default=Path("demo-output"), metavar="DIR", help="folder for the results (demo-output)")
    parser.add_argument("--seed", type=random_seed, default=DEMO_SEED, help="which simulated patient")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, for the network")


def run(options: argparse.Namespace, run: Run) -> int:
    """Every stage goes through files, as the separate commands do."""
    from ..acquisition.quality import check_sweep
    from ..evaluation.figures import figure_slices
    from ..evaluation.metrics import overlap
    from ..files.boxes import read_box
    from ..files.segmentations import write_segmentation
    from ..files.surfaces import write_surface
    from ..files.volumes import write_volume, write_weights
    from ..phantom import PhantomSettings, simulate_case, write_case
    from ..scene import build_scene, headless_scene, image_poses, margin_surface, render_scene, save_scene
    from ..segmentation import embed
    from ..sweep import read_plus_config, read_sweep

    folder = output_folder(options.output)
    for name in RESULTS:  # what an earlier run left must not stand beside this patient's
        (folder / name).unlink(missing_ok=True)
    with run.stage("phantom"):
        case = simulate_case(options.seed, PhantomSettings(), progress=run.progress)
        paths = write_case(folder, "demo", case)
        scanner = paths.sweep.replace(folder / "scanner.igs.mha")
    with run.stage("record"):
        run.found["record"] = record_over_loopback(scanner, paths.config, paths.sweep, run)
    run.output("sweep", paths.sweep)
    with run.stage("check"):
        sweep, calibration = read_sweep(paths.sweep), read_plus_config(paths.config).calibration
        quality = check_sweep(sweep, calibration)
    run.found.update(verdict=quality.verdict, findings=[dataclasses.asdict(f) for f in quality.findings])
    volume = reconstruct_sweep(paths.sweep, paths.config, run, argparse.Namespace())
    write_weights(folder / "volume_weights.nrrd", volume)
    write_volume(folder / "volume.nrrd", volume)
    run.output("volume", folder / "volume.nrrd")

    box = read_box(paths.roi, volume.grid.frame)
    lesions: dict[str, Lesion] = {"region-growing": segment_by_growing(volume, box, run, [tuple(seed) for seed in case.seeds.tolist()])}
    if why := missing_model(DEFAULT_MODEL):
        run.found["notes"] = [f"{why}, so the network did not run; region growing stands in for it"]
    else:
        lesions["nnunet"] = segment_by_network(volume, box, run, DEFAULT_MODEL, options.device, None)
    truth = case.truth_on(volume.grid)
    masks = {name: embed(lesion.mask, volume.grid) for name, lesion in lesions.items()}
    scores = {name: overlap(mask, truth) for name, mask in masks.items()}
    run.found["dice"] = {name: round(score.dice, 4) for name, score in scores.items()}
    shown = "nnunet" if "nnunet" in lesions else "region-growing"
    lesion = lesions[shown]
    if lesion.surface is None:
        raise InputError(f"{shown} found nothing in the box of the simulated patient {options.seed}; choose another --seed.")

    with run.stage("write"):
        write_segmentation(folder / "lesion.seg.nrrd", masks[shown])
        write_surface(folder / "lesion.stl", lesion.surface)
    run.output("segmentation", folder / "lesion.seg.nrrd")
    run.output("surface", folder / "lesion.stl")
    with headless_scene() as world:
        with run.stage("scene"):
            nodes = build_scene(
                world.scene,
                volume=volume,
                box=box,
                mask=masks[shown],
                surface=lesion.surface,
                margin=margin_surface(lesion.surface),
                seeds=case.seeds,
                poses=image_poses(sweep, calibration),
                sweep_name="Sweep 1",
                patient_name=f"Simulated patient {options.seed}",
            )
            save_scene(world.scene, folder / "scene.mrb")
        with run.stage("render"):
            render_scene(nodes, folder / "navigation.png")
    run.output("scene", folder / "scene.mrb")
    run.output("navigation", folder / "navigation.png")
    with run.stage("figures"):
        title = f"Simulated patient {options.seed}, {case.echogenicity}-echoic lesion"
        figure_slices(folder / "slices.png", volume, box, {**masks, "truth": truth}, box.centre, title)
    run.output("slices", folder / "slices.png")
    write_report(folder / "report.html", folder, run, scores, title)
    run.output("report", folder / "report.html")
    received = run.found["record"]
    run.summary.append(f"{received['frames']} frames received over OpenIGTLink, {received['lost']} lost")
    run.summary.append("Dice against the simulated truth: " + ", ".join(f"{name} {score.dice:.3f}" for name, score in scores.items()))
    run.summary += run.found.get("notes", [])
    return 0
