"""Small studies on disk for the tests of the runner: a table with masks of other systems, and models with random weights."""

from __future__ import annotations

import csv
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cohort_cases import a_volume, write_cohort
from nnunet_tiny import DATASET, write_results

from LiverLesionSegLib.cohort import LoadedCase, read_cases_and_bad
from LiverLesionSegLib.evaluation.methods import EllipsoidMethod, GivenMasks, Segmented
from LiverLesionSegLib.evaluation.study import EvaluatedCohort, evaluate_cohort
from LiverLesionSegLib.files.volumes import write_label_volume
from LiverLesionSegLib.progress import IsCancelled
from LiverLesionSegLib.types import Box, Mask, Threshold

CHEAP = (EllipsoidMethod(), GivenMasks("shifted"))


def the_study(table: Path, folder: Path, **options: Any) -> EvaluatedCohort:
    """The cheap methods on a whole table."""
    return evaluate_cohort(read_cases_and_bad(table), CHEAP, folder=folder, **options)


def write_study(folder: Path, cases: int = 3) -> Path:
    """cases.csv with test cases; the column mask:shifted holds the truth moved by one voxel, mask:exact the truth itself."""
    write_cohort(folder, ("test",) * cases)
    for number in range(cases):
        truth = a_volume(number)[1]
        write_label_volume(folder / f"s{number}.nrrd", Mask(np.roll(truth.array, 1, axis=2), truth.grid))
    return edit_table(
        folder / "cases.csv", {"mask:shifted": [f"s{n}.nrrd" for n in range(cases)], "mask:exact": [f"t{n}.nrrd" for n in range(cases)]}
    )


def edit_table(path: Path, columns: dict[str, list[str]], more: list[dict[str, str]] | None = None) -> Path:
    """Sets whole columns of a table, and adds lines."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    rows += more or []
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_model(folder: Path, *, whole: bool = False, seed: int = 0, value: float = 0.5) -> Path:
    """A results folder with random weights and a threshold. whole: a model of whole volumes."""
    from LiverLesionSegLib.segmentation.model import load_model, write_threshold

    dataset: dict[str, Any] = {**DATASET, "liverlesionseg": {"mode": "full" if whole else "crop", "crop": {"spacing_mm": 1.0}}}
    bundle = load_model(write_results(folder, dataset=dataset, seed=seed))
    write_threshold(folder, bundle.model_id, Threshold(value, bundle.model_id, bundle.inference_path(), "by hand"))
    return folder


def stored(folder: Path) -> dict[str, bytes]:
    """Every file that a study keeps, but the times, by its path below `folder`."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "seconds.json"}


@dataclass(frozen=True)
class Misbehaving:
    """A method that on one case does what no method should: "kill" ends its process, "defect" raises what is no input's fault."""

    case: str
    how: str
    name: str = "misbehaving"

    def identity(self) -> dict[str, Any]:
        return {"kind": "misbehaving", "case": self.case, "how": self.how}

    def prepare(self) -> Misbehaving:
        return self

    @property
    def uses_box(self) -> bool:
        return False

    def segment(self, loaded: LoadedCase, box: Box, *, cancelled: IsCancelled | None = None) -> Segmented:
        if loaded.name == self.case and self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if loaded.name == self.case:
            raise TypeError("what no one\nthought of")
        assert loaded.truth is not None
        return Segmented(loaded.truth, seconds={"nothing": 0.0})
