"""A small cohort on disk: volumes of dark balls in speckle, their truths and boxes, and the table that lists them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from LiverLesionSegLib.files.boxes import write_box
from LiverLesionSegLib.files.volumes import write_array, write_label_volume, write_volume, write_weights
from LiverLesionSegLib.geometry import grid_from_axes, ras_from_kji
from LiverLesionSegLib.types import Box, Grid, Mask, Volume

SHAPE = (64, 60, 68)


def a_grid(number: int) -> Grid:
    """0.6 mm voxels, turned and shifted by the case's number."""
    angle = 0.2 * number
    axes = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    return grid_from_axes(SHAPE, (10.0 * number, -5.0, 3.0), axes, 0.6)


def a_volume(number: int) -> tuple[Volume, Mask]:
    """A dark ball of about 6 mm radius near the middle, unseen in a corner wedge, and its truth."""
    rng = np.random.default_rng(number)
    grid = a_grid(number)
    k, j, i = np.indices(SHAPE)
    centre = np.array(SHAPE) / 2 + rng.uniform(-3, 3, 3)
    ball = ((k - centre[0]) ** 2 + (j - centre[1]) ** 2 + (i - centre[2]) ** 2) * 0.36 < rng.uniform(5, 7) ** 2
    array = np.clip(np.where(ball, 60, 130) + rng.normal(0, 18, SHAPE), 1, 255).astype(np.uint8)
    weight = np.where(k + j < 18, 0.0, 1.0).astype(np.float32)
    array[weight == 0] = 0
    return Volume(array, grid, weight), Mask(ball & (weight > 0), grid)


def write_cohort(folder: Path, splits: tuple[str, ...]) -> Path:
    """One case for each split, named case0, case1, ...; returns cases.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, split in enumerate(splits):
        volume, truth = a_volume(number)
        write_volume(folder / f"v{number}.nrrd", volume)
        write_weights(folder / f"w{number}.nrrd", volume)
        write_label_volume(folder / f"t{number}.nrrd", truth)
        write_box(
            folder / f"b{number}.mrk.json",
            Box(ras_from_kji(volume.grid, np.array(SHAPE) / 2), volume.grid.ijk_to_ras[:3, :3] / 0.6, np.full(3, 18.0)),
        )
        rows.append([f"case{number}", f"v{number}.nrrd", f"t{number}.nrrd", f"b{number}.mrk.json", f"w{number}.nrrd", split, "hypo", str(number)])
    return write_rows(folder / "cases.csv", rows)


def write_rows(path: Path, rows: list[list[str]]) -> Path:
    """A table with the columns that `write_cohort` fills, and one of its own."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["case", "volume", "truth", "roi", "weights", "split", "echogenicity", "hospital"])
        writer.writerows(rows)
    return path


def write_labels(path: Path, array: np.ndarray, number: int = 0) -> Path:
    """Another truth for a case."""
    write_array(path, array, a_grid(number), {})
    return path
