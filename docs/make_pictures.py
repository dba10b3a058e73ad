"""Makes the pictures of the README and the user guide: `python docs/make_pictures.py DATA`, DATA being a folder with the real recordings.

The demo gives the navigation scene; the others are made by the commands that the guide shows. Pictures of the liver sweep carry its attribution
(CC BY 4.0, ImFusion GmbH).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from LiverLesionSegLib.cli import main as command
from LiverLesionSegLib.evaluation.figures import figure_slices
from LiverLesionSegLib.files.boxes import write_box
from LiverLesionSegLib.files.volumes import read_mask, read_volume
from LiverLesionSegLib.types import Box

PICTURES = Path(__file__).resolve().parent / "pictures"


@dataclass(frozen=True)
class Example:
    name: str
    sweep: str
    config: str
    options: tuple[str, ...]
    centre: tuple[float, float, float]
    size: tuple[float, float, float]
    title: str
    half_width_mm: float


EXAMPLES = (
    Example(
        "liver",
        "liver/LiverFreehandA.igs.mha",
        "liver/LiverFreehand_config.xml",
        ("--fill-holes",),
        (-4.2, -4.8, 119.5),
        (24.0, 17.0, 18.0),
        "A dark vessel-like structure at the liver's edge (sweep: ImFusion GmbH, CC BY 4.0)",
        45.0,
    ),
    Example(
        "spine",
        "plus/SpinePhantomFreehand.igs.mha",
        "plus/Config_VolumeReconstruction_SpinePhantom_LN_MAXI.xml",
        ("--fill-holes",),
        (-37.5, 201.6, 52.0),
        (19.0, 7.0, 10.0),
        "Spine phantom (Plus toolkit): a vertebra's echo, by region growing",
        30.0,
    ),
)


def make(data: Path, example: Example, folder: Path) -> None:
    volume, weights, roi, mask = (folder / name for name in ("volume.nrrd", "weights.nrrd", "roi.mrk.json", "lesion.seg.nrrd"))
    words = ["reconstruct", data / example.sweep, "--config", data / example.config, "--output", volume, "--weights", weights, *example.options]
    run([*words])
    box = Box(np.array(example.centre), np.eye(3), np.array(example.size))
    write_box(roi, box)
    seed = ",".join(f"{c:g}" for c in example.centre)
    run(["segment", volume, "--weights", weights, "--roi", roi, "--output", mask, "--method", "region-growing", "--seed", seed])
    picture = PICTURES / f"{example.name}.png"
    masks = {"region-growing": read_mask(mask)}
    figure_slices(picture, read_volume(volume, weights), box, masks, box.centre, example.title, example.half_width_mm)
    print(picture)


def make_check(data: Path, folder: Path) -> None:
    """What `check --pictures` draws; the verdict on this sweep is a warning (exit code 3)."""
    sweep, config = data / EXAMPLES[0].sweep, data / EXAMPLES[0].config
    run(["check", sweep, "--config", config, "--pictures", folder], (0, 3))
    for name in ("trajectory", "coverage"):
        shutil.copyfile(folder / f"{name}.png", PICTURES / f"check_{name}.png")


def run(words: list[object], fine: tuple[int, ...] = (0,)) -> None:
    code = command([str(word) for word in words])
    if code not in fine:
        sys.exit(code)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/make_pictures.py DATA")
    PICTURES.mkdir(exist_ok=True)
    for example in EXAMPLES:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(sys.argv[1]), example, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        make_check(Path(sys.argv[1]), Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        run(["demo", "--output", folder])
        with Image.open(Path(folder) / "navigation.png") as picture:
            picture.convert("RGB").resize((1200, 900)).save(PICTURES / "navigation.png", optimize=True)


if __name__ == "__main__":
    main()
