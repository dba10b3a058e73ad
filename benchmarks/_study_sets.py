"""The sets of the simulated study: which cases there are, from which seeds, and how they are made. The data go to a folder outside the repository."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from LiverLesionSegLib.phantom import PhantomSettings, simulate_case, write_case
from LiverLesionSegLib.phantom.writing import case_row, case_seed, write_table


@dataclass(frozen=True)
class StudySet:
    """`count` cases from `seed`. split: of cases.csv. background: lesions are put into a recorded sweep, into this part of its frames."""

    name: str
    count: int
    seed: int
    split: str
    settings: PhantomSettings = field(default_factory=PhantomSettings)
    background: tuple[float, float] | None = None


OTHER_SCANNER = PhantomSettings(
    half_angle_deg=26.0, depth_mm=66.0, frequency_mhz=6.3, gain_db=3.0, frame_range=(55, 95), tracker_jitter_mm=0.2, sweep_coverage_mm=(5.0, 16.0)
)
"""The prospective-like set: a narrower, deeper and lower-pitched probe, more gain, and an operator who sweeps longer and less steadily."""

SETS = (
    StudySet("validation", 10, 202, "validation"),
    StudySet("train", 50, 101, "train"),
    StudySet("test", 20, 303, "test"),
    StudySet("prospective", 5, 404, "test", OTHER_SCANNER),
    StudySet("no_lesion", 10, 505, "test", PhantomSettings(echogenicity="none")),
    StudySet("no_lesion_fresh", 30, 5151, "test", PhantomSettings(echogenicity="none")),
    StudySet("no_lesion_last", 30, 5252, "test", PhantomSettings(echogenicity="none")),
    StudySet("near_iso", 5, 606, "test", PhantomSettings(echogenicity="iso")),
    StudySet("transcutaneous", 5, 707, "test", PhantomSettings(probe="transcutaneous")),
    StudySet("low_gain", 5, 808, "test", PhantomSettings(gain_db=-9.0)),
    StudySet("gas", 5, 909, "test", PhantomSettings(gas_bubbles=1.0)),
    StudySet("two_lesions", 5, 1010, "test", PhantomSettings(other_lesions=1)),
    StudySet("neighbours", 8, 3131, "test", PhantomSettings(neighbours=1, lesion_ml=(0.5, 8.0))),
    StudySet("background_train", 16, 1111, "train", background=(0.0, 0.6)),
    StudySet("background_validation", 4, 1212, "validation", background=(0.0, 0.6)),
    StudySet("background_test", 10, 1313, "test", background=(0.6, 1.0)),
)

MORE = (
    StudySet("train_varied", 48, 2101, "train", PhantomSettings(variation=1.8)),
    StudySet("train_other_fans", 24, 2202, "train", PhantomSettings(half_angle_deg=36.0, depth_mm=80.0, frequency_mhz=5.0, variation=1.5)),
    StudySet("train_low_gain", 8, 2303, "train", PhantomSettings(gain_db=-6.0)),
    StudySet("train_no_lesion", 12, 2404, "train", PhantomSettings(echogenicity="none")),
    StudySet("train_near_iso", 8, 2505, "train", PhantomSettings(echogenicity="iso")),
    StudySet("train_transcutaneous", 12, 2606, "train", PhantomSettings(probe="transcutaneous", variation=1.5)),
    StudySet("background_train_more", 32, 2707, "train", PhantomSettings(variation=1.8), background=(0.0, 0.6)),
    StudySet("train_no_lesion_more", 24, 2808, "train", PhantomSettings(echogenicity="none", variation=1.3)),
    StudySet("background_train_most", 32, 2909, "train", PhantomSettings(variation=1.8), background=(0.0, 0.6)),
)
"""What a model that ships is trained on beside the study's own cases: scanners, presets and livers that the paper's cohort does not have."""

_FEW = (18, 26)
FRAMES = (
    StudySet("frames_varied", 260, 3232, "train", PhantomSettings(variation=1.6, frame_range=_FEW)),
    StudySet("frames_background", 60, 3333, "train", PhantomSettings(variation=1.8), background=(0.0, 0.6)),
    StudySet("frames_transcutaneous", 30, 3434, "train", PhantomSettings(probe="transcutaneous", variation=1.5, frame_range=_FEW)),
    StudySet("frames_near_iso", 20, 3535, "train", PhantomSettings(echogenicity="iso", variation=1.3, frame_range=_FEW)),
)
"""Further lesions for the network of single frames, few frames of each: tried, does not ship (docs/study/frames.md)."""


def make_set(folder: Path, wanted: StudySet, background: tuple[Path, Path] | None = None) -> Path | None:
    """Makes the cases of a set below `folder`, those already there excepted; returns its cases.csv, or None for a set that lacks its recording.

    background: (sweep, configuration) that lesions are put into.
    """
    place = folder / wanted.name
    table = place / "cases.csv"
    if wanted.background is not None and background is None and not table.is_file():
        return None
    place.mkdir(parents=True, exist_ok=True)
    rows = [_make_case(place, wanted, number, background) for number in range(wanted.count)]
    if not table.is_file() or len(table.read_text(encoding="utf-8").splitlines()) != len(rows) + 1:
        write_table(table, rows)
    return table


def _make_case(place: Path, wanted: StudySet, number: int, background: tuple[Path, Path] | None) -> dict[str, str]:
    name = f"{wanted.name}_{number + 1:03d}"
    done = place / f"{name}.json"
    if done.is_file():
        return dict(json.loads(done.read_text(encoding="utf-8")))
    seed = case_seed(wanted.seed, number)
    if wanted.background is None:
        case = simulate_case(seed, wanted.settings)
    else:
        from LiverLesionSegLib.phantom import insert_lesion
        from LiverLesionSegLib.sweep import read_plus_config, read_sweep

        assert background is not None
        sweep = read_sweep(background[0])
        frames = (int(wanted.background[0] * len(sweep)), int(wanted.background[1] * len(sweep)))
        case = insert_lesion(sweep, read_plus_config(background[1]).calibration, seed, wanted.settings, frame_range=frames)
    files = write_case(place, name, case)
    row = case_row(name, case, files, wanted.split)
    done.write_text(json.dumps(row), encoding="utf-8")
    print(f"{name}: {case.lesion_ml:.2f} mL, {case.echogenicity}", flush=True)
    return row


def scaled(sets: Iterable[StudySet], largest: int | None) -> list[StudySet]:
    """The same sets with at most `largest` cases each: the first ones, which are the same as in the whole study."""
    return [one if largest is None else replace(one, count=min(one.count, largest)) for one in sets]
