"""One case of a study: read, boxed, segmented by every method, measured. What is wrong with it becomes a sentence and stays with it."""

from __future__ import annotations

import math
import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..cohort import Case, LoadedCase, case_box, load_case
from ..errors import BoxError, Cancelled, InputError
from ..files.volumes import read_mask
from ..progress import IsCancelled, stop_if_cancelled
from ..segmentation import embed
from ..segmentation.crop import share_seen
from ..types import Box, Mask, Probability
from .contrast import contrast_of
from .curves import CaseCounts, VoxelCurves
from .lesions import lesions_of
from .measures import measures_of
from .methods import Method, Prepared, Segmented, on_volume
from .metrics import equal_volume_diameter_mm
from .results import CaseResult, MethodResult
from .storage import CaseRecord, PackedMask

TRUTH = "truth"
NO_LESION = "none"
"""The echogenicity of a case without a lesion, whose truth is empty."""
NO_TIME = "Nobody timed how a given mask was made."


@dataclass(frozen=True)
class StudySettings:
    """boxes: hand-drawn-like ones for each case, made from truth with `seed`; 0: the table's own box. resample: take masks on other grids than the
    volume's. threads: of the processor, in each process.
    """

    boxes: int = 1
    seed: int = 0
    resample: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        if self.boxes < 0 or self.seed < 0 or self.threads < 1:
            raise InputError(
                f"{self.boxes} boxes, seed {self.seed} and {self.threads} threads make no study; give none below 0, and 1 thread or more."
            )


@dataclass(frozen=True)
class Study:
    """What every case of a study shares; goes to worker processes. folder: paths below it are given relative to it in what is said of a case."""

    methods: tuple[Method, ...]
    settings: StudySettings
    folder: str = ""

    def prepare(self) -> dict[str, Prepared]:
        """Name -> method, ready to work. Raises InputError (and its kinds)."""
        return {method.name: method.prepare() for method in self.methods}


def evaluate_or_say_why(case: Case, methods: Mapping[str, Prepared], study: Study, *, cancelled: IsCancelled | None = None) -> CaseRecord:
    """As `evaluate_case`; whatever goes wrong with the case is said in its result, so that no other case is lost."""
    try:
        record = evaluate_case(case, methods, study.settings, cancelled=cancelled)
    except Cancelled:
        raise
    except InputError as error:
        record = left_out(case, str(error))
    except MemoryError:
        record = left_out(case, f"Case {case.name}: there was not enough memory for it; evaluate with fewer --workers, or give a coarser volume.")
    except Exception as error:  # noqa: BLE001 - a defect shows in the report, with where it happened, and the study goes on
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename.replace(chr(92), '/').rsplit('/', 1)[-1]}:{place.lineno}"
        record = left_out(case, f"Case {case.name}: a defect of this software ({type(error).__name__}: {error} at {where}); please report it.")
    return replace(record, result=_relative(record.result, study.folder))


def _relative(case: CaseResult, folder: str) -> CaseResult:
    """What is said of a case must be the same wherever, and by whichever machine, it was evaluated."""

    def short(text: str) -> str:
        return text.replace(folder + os.sep, "") if folder else text

    results = [replace(one, error=short(one.error), warnings=tuple(map(short, one.warnings))) for one in case.results]
    return replace(case, results=tuple(results), error=short(case.error), warnings=tuple(map(short, case.warnings)))


def left_out(case: Case, why: str) -> CaseRecord:
    """The record of a case that could not be evaluated; not kept, since files and memory change."""
    return CaseRecord(CaseResult(case.name, attributes_of(case), error=" ".join(why.split())), finished=False)


def attributes_of(case: Case) -> dict[str, str]:
    """What the table says of a case, as text."""
    return {"split": case.split, "echogenicity": case.echogenicity, **case.extra}


def evaluate_case(case: Case, methods: Mapping[str, Prepared], settings: StudySettings, *, cancelled: IsCancelled | None = None) -> CaseRecord:
    """Every method on every box of a case, measured on the volume's grid. A method's refusal is its own result's error.

    Raises InputError (and its kinds), naming the case: its files cannot be used, its truth lies on another grid or is empty, or there is no box.
    """
    loaded = load_case(case, allow_empty=case.echogenicity == NO_LESION, threads=settings.threads, cancelled=cancelled)
    if loaded.truth is None:
        raise InputError(f"Case {case.name}: has no truth; give the mask of its lesion, an empty one for a case without a lesion.")
    try:
        truth, warnings = on_volume(loaded.truth, loaded, f"its truth {case.truth}", settings.resample)
    except InputError as error:
        raise type(error)(f"Case {case.name}: {error}") from error
    boxes = boxes_of(loaded, settings)
    try:
        seen = share_seen(loaded.volume, boxes[0])
    except BoxError as error:
        raise BoxError(f"Case {case.name}: {error}") from error
    results, counts = [], {}
    masks = {TRUTH: PackedMask.of(truth)}
    for place, box in enumerate(boxes):
        for name, method in methods.items():
            if place and not method.uses_box:
                continue
            stop_if_cancelled(cancelled)
            try:
                found = method.segment(loaded, box, cancelled=cancelled)
                mask = embed(found.mask, loaded.volume.grid)
            except InputError as error:
                results.append(MethodResult(name, place, error=" ".join(str(error).split())))
                continue
            results.append(_measured(name, place, found, mask, truth))
            if place == 0:
                masks[name] = PackedMask.of(mask)
                if found.probability is not None:
                    counts[name] = _counts(case.name, found.probability, truth)
    others, notes = _other_truths(loaded, settings)
    contrast = contrast_of(loaded.volume, truth)
    if contrast.undefined and truth.array.any():
        notes.append(f"The contrast is undefined: {contrast.undefined}")
    result = CaseResult(
        case.name,
        attributes_of(case),
        truth_ml=truth.volume_ml,
        diameter_mm=equal_volume_diameter_mm(truth.volume_ml),
        contrast=contrast.value,
        seen_in_box=seen,
        lesions=len(lesions_of(truth, truth)[0]),
        results=tuple(results),
        warnings=(*warnings, *notes),
    )
    return CaseRecord(result, counts, {**masks, **others})


def boxes_of(loaded: LoadedCase, settings: StudySettings) -> list[Box]:
    """The boxes of a case, the first of which figures show. Without a lesion every box would be the table's own, so there is one.

    Raises BoxError, naming the case, when there is none.
    """
    if settings.boxes == 0:
        if loaded.roi is None:
            raise BoxError(f"Case {loaded.name}: the table gives no box (roi); give one, or ask for boxes drawn about the truth.")
        return [loaded.roi]
    assert loaded.truth is not None
    number = settings.boxes if loaded.truth.array.any() else 1
    return [case_box(loaded, n, settings.seed) for n in range(number)]


def _measured(name: str, place: int, found: Segmented, mask: Mask, truth: Mask) -> MethodResult:
    measures, undefined = measures_of(mask, truth)
    lesions, false = lesions_of(mask, truth)
    measures["seconds"] = sum(found.seconds.values()) if found.seconds else math.nan
    if not found.seconds:
        undefined["seconds"] = NO_TIME
    return MethodResult(
        name, place, measures, undefined, dict(found.seconds), found.device, found.model_id, found.threshold, found.warnings, "", lesions, false
    )


def _counts(case: str, found: Probability, truth: Mask) -> CaseCounts:
    """Every voxel that the method looked at is one prediction, as in Natali et al. (2025)."""
    curves = VoxelCurves()
    curves.add(found.array, embed(truth, found.grid).array)
    return curves.counts(case)


def _other_truths(loaded: LoadedCase, settings: StudySettings) -> tuple[dict[str, PackedMask], list[str]]:
    """What other observers drew, and what is wrong with any of it."""
    masks, warnings = {}, []
    for name, path in loaded.case.truths.items():
        if path is None:
            warnings.append(f"The table gives no truth of {name}.")
            continue
        try:
            mask, notes = on_volume(read_mask(path), loaded, f"the truth of {name}, {path}", settings.resample)
        except InputError as error:
            warnings.append(" ".join(f"The truth of {name} was left out: {error}".split()))
            continue
        masks[f"{TRUTH}:{name}"] = PackedMask.of(mask)
        warnings += notes
    return masks, warnings
