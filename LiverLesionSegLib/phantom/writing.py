"""Simulated cases as files: sweep, truth, box, PLUS configuration, and the table that lists them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ..files.atomic import output_folder, whole_file
from ..files.boxes import write_box
from ..files.volumes import write_label_volume
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..sweep import write_sweep
from ..sweep.transform_graph import split_name
from ..types import Calibration, Sweep
from .background import insert_lesion
from .cases import PhantomCase, simulate_case
from .settings import PhantomSettings

COLUMNS = (
    "case", "volume", "truth", "roi", "sweep", "config", "weights", "split", "seed_r", "seed_a", "seed_s", "echogenicity",
    "lesion_ml", "frames", "probe", "contrast_db", "phantom_seed",
)  # fmt: skip


@dataclass(frozen=True)
class CaseFiles:
    """Where a case was written; `truth` and `roi` are there for cases without a lesion too (empty label map, box somewhere in the liver)."""

    sweep: Path
    truth: Path
    roi: Path
    config: Path


@dataclass(frozen=True, eq=False)
class Background:
    """A recorded sweep to put lesions into. frame_range: (first, one past the last) of the frames to use, or None for all."""

    sweep: Sweep
    calibration: Calibration
    frame_range: tuple[int, int] | None = None


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.10g}" for value in values)


def write_config(path: Path, calibration: Calibration, spacing_mm: float = 0.5) -> None:
    """A PLUS device-set configuration with the calibration, the clip rectangle, the fan and settings of the reconstruction."""
    root = ElementTree.Element("PlusConfiguration", version="2.1")
    definitions = ElementTree.SubElement(root, "CoordinateDefinitions")
    ElementTree.SubElement(
        definitions,
        "Transform",
        {"From": calibration.image_frame, "To": calibration.probe_frame, "Matrix": _numbers(np.asarray(calibration.image_to_probe).ravel().tolist())},
    )
    for name, matrix in calibration.static_transforms.items():
        start, end = split_name(name)
        ElementTree.SubElement(definitions, "Transform", {"From": start, "To": end, "Matrix": _numbers(np.asarray(matrix).ravel().tolist())})
    settings = {
        "ImageCoordinateFrame": calibration.image_frame,
        "ReferenceCoordinateFrame": calibration.reference_frame,
        "Interpolation": "LINEAR",
        "CompoundingMode": "MEAN",
        # Freehand frames lie up to some mm apart; with the gaps left open, less than half of some boxes would be seen.
        "FillHoles": "ON",
        "OutputSpacing": _numbers([spacing_mm] * 3),
    }
    if calibration.clip_px is not None:
        settings |= {"ClipRectangleOrigin": _numbers(calibration.clip_px[:2]), "ClipRectangleSize": _numbers(calibration.clip_px[2:])}
    if calibration.fan is not None:
        settings |= {
            "FanAnglesDeg": _numbers(calibration.fan.angles_deg),
            "FanOriginPixel": _numbers(calibration.fan.origin_px),
            "FanRadiusStartPixel": _numbers(calibration.fan.radii_px[:1]),
            "FanRadiusStopPixel": _numbers(calibration.fan.radii_px[1:]),
        }
    ElementTree.SubElement(root, "VolumeReconstruction", settings)
    ElementTree.indent(root)
    with whole_file(path) as temporary:
        temporary.write_bytes(ElementTree.tostring(root) + b"\n")


def write_case(folder: str | Path, name: str, case: PhantomCase) -> CaseFiles:
    """Write `case` into `folder` as NAME.igs.mha, NAME_truth.nrrd, NAME_roi.mrk.json and config.xml.

    All cases of one probe have the same calibration, so they share config.xml. Raises OutputError when the folder cannot be written.
    """
    folder = output_folder(Path(folder))
    files = CaseFiles(folder / f"{name}.igs.mha", folder / f"{name}_truth.nrrd", folder / f"{name}_roi.mrk.json", folder / "config.xml")
    write_sweep(files.sweep, case.sweep)
    write_label_volume(files.truth, case.truth)
    write_box(files.roi, case.box)
    write_config(files.config, case.calibration)
    return files


def case_row(name: str, case: PhantomCase, files: CaseFiles, split: str = "") -> dict[str, str]:
    """The case's line of cases.csv, paths relative to the folder it lies in."""
    seed = [f"{value:.3f}" for value in case.seeds[0]] if len(case.seeds) else ["", "", ""]
    notes = {key: "" if case.notes.get(key) is None else str(case.notes[key]) for key in ("frames", "probe", "contrast_db")}
    return {
        "case": name, "volume": "", "truth": files.truth.name, "roi": files.roi.name, "sweep": files.sweep.name, "config": files.config.name,
        "weights": "", "split": split, "seed_r": seed[0], "seed_a": seed[1], "seed_s": seed[2], "echogenicity": case.echogenicity,
        "lesion_ml": f"{case.lesion_ml:.4f}", **notes, "phantom_seed": str(case.notes.get("seed", "")),
    }  # fmt: skip


def write_table(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """cases.csv with one line per case."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_cases(
    folder: str | Path,
    count: int,
    seed: int,
    settings: PhantomSettings,
    *,
    split: str = "",
    background: Background | None = None,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> Path:
    """Simulate `count` cases, case n with a seed that follows from `seed` and n alone, and write them with their cases.csv.

    With a `background` the lesions are put into that recording instead of into simulated livers.
    Returns the path of cases.csv, which appears last. Raises OutputError when the folder cannot be written, Cancelled when told to stop.
    """
    folder = output_folder(Path(folder))
    rows = []
    for number in range(count):
        stop_if_cancelled(cancelled)
        name = f"case{number + 1:03d}"

        def inner(fraction: float, text: str, number: int = number, name: str = name) -> None:
            report(progress, (number + 0.9 * fraction) / count, f"{name}: {text}")

        if background is None:
            case = simulate_case(case_seed(seed, number), settings, progress=inner, cancelled=cancelled)
        else:
            case = insert_lesion(
                background.sweep,
                background.calibration,
                case_seed(seed, number),
                settings,
                frame_range=background.frame_range,
                progress=inner,
                cancelled=cancelled,
            )
        rows.append(case_row(name, case, write_case(folder, name, case), split))
    table = folder / "cases.csv"
    write_table(table, rows)
    report(progress, 1.0, f"{count} cases written")
    return table


def case_seed(seed: int, number: int) -> int:
    """The seed of case `number` (from 0) of a cohort: independent of how many cases there are."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
