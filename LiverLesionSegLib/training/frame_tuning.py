"""The probability threshold of a model of single frames: the pixel-wise F1 maximum over the validation frames, by the inference path that ships."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..cohort import Case, read_cases
from ..errors import InputError
from ..evaluation.curves import VoxelCurves
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..segmentation.frame_sampling import pixel_size_mm
from ..types import Threshold
from .frames import FrameCase, FrameExportSettings, chosen_frames, load_frame_case
from .tuning import AGREEMENT, Tuned, curve_details

if TYPE_CHECKING:
    from ..segmentation.frames import FramePredictor

Frames = Mapping[str, Sequence[int]]
"""Case -> the numbers of its frames."""


def predicted_frames(loaded: FrameCase, frames: Sequence[int], predictor: FramePredictor) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """(probability, truth), each (h, w) on the network's pixels, of some of a case's frames: the whole path that the live image takes."""
    for frame in frames:
        if not 0 <= frame < len(loaded.sweep) or not loaded.poses.usable[frame]:
            raise InputError(f"Case {loaded.name}: has no frame {frame} with a pose; export the data set again.")
        answer = predictor.predict(loaded.sweep.images[frame], pixel_size_mm(loaded.calibration), calibration=loaded.calibration)
        yield answer.array, loaded.label(frame)


def tune_frames(
    cases: Sequence[Case],
    predictor: FramePredictor,
    *,
    frames: Frames | None = None,
    split: str = "validation",
    others: Sequence[FramePredictor] = (),
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> Tuned:
    """The threshold with the highest F1 over every pixel within the fan of the frames of the cases of `split`; every pixel is one prediction.

    frames: of each case; without it those that export draws. others: predictors of the same model by other paths, compared on the same frames.
    Raises InputError for no such case and for bad cases.
    """
    wanted = [case for case in cases if case.split == split]
    if not wanted:
        raise InputError(f"The table has no {split} case, so no threshold can be tuned; say {split} in its column split.")
    curves, count = VoxelCurves(), 0
    differences = {other.inference_path: 0.0 for other in others}
    for number, case in enumerate(wanted):
        report(progress, number / len(wanted), f"case {case.name}")
        loaded = load_frame_case(case, predictor.pixel_mm)
        chosen = _frames_of(loaded, frames)
        inside = loaded.sampler.seen if loaded.sampler.seen is not None else np.ones(loaded.sampler.shape, dtype=bool)
        for frame in chosen:
            stop_if_cancelled(cancelled)
            ((probability, truth),) = predicted_frames(loaded, [frame], predictor)
            for other in others:
                ((again, _),) = predicted_frames(loaded, [frame], other)
                differences[other.inference_path] = max(differences[other.inference_path], float(np.abs(again - probability).max()))
            curves.add(probability[inside], truth[inside])
        count += len(chosen)
    if not curves.lesion.any():
        raise InputError(f"No frame of the {split} cases shows a lesion, so no threshold can be tuned; give cases with one.")
    best = curves.best_f1()
    names = tuple(case.name for case in wanted)
    tuned = f"highest pixel-wise F1 over {count} frames of {len(names)} {split} cases"
    threshold = Threshold(best.threshold, predictor.bundle.model_id, predictor.inference_path, tuned, names)
    report(progress, 1.0, "tuned")
    details = curve_details(best, curves) | {"frames": count} | ({"largest_difference": differences} if differences else {})
    return Tuned(threshold, best, curves, details, tuple(path for path, worst in differences.items() if worst <= AGREEMENT))


def exported_frames(data: Path) -> tuple[list[Case], dict[str, list[int]]]:
    """The cases that a data set of frames was exported from, and which frames of each it holds.

    Raises InputError when `data` is no such data set, or its table is not where it was.
    """
    path = Path(data) / "dataset.json"
    frames: dict[str, list[int]] = {}
    try:
        section = json.loads(path.read_text(encoding="utf-8"))["liverlesionseg"]
        table = Path(data).resolve() / str(section["cases_file"])
        for image in section["images"]:
            frames.setdefault(str(image["case"]), []).append(int(image["frame"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: does not say which frames it was exported from; export with --mode frames, or give the table of cases.") from error
    return read_cases(table), frames


def _frames_of(loaded: FrameCase, frames: Frames | None) -> Sequence[int]:
    if frames is None:
        return chosen_frames(loaded, replace(FrameExportSettings(), pixel_mm=loaded.sampler.network_mm))
    if loaded.name not in frames:
        raise InputError(f"Case {loaded.name}: is not in the data set; export it again, or give the table of cases.")
    return frames[loaded.name]
