"""A study: methods side by side on the cases of a table, in parallel, kept case by case, and summed up in one value.

`evaluate_cohort` is what the command line and the Slicer module call. Results do not depend on how many processes or machines there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..cohort import BadCase, Case
from ..errors import InputError
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from .curves import VoxelCurves
from .methods import Method, NetworkMethod
from .one_case import Study, StudySettings
from .results import CaseResult, CohortResult
from .storage import FORMAT, CaseRecord, CaseStore, PackedMask, add_counts, digest, file_identity
from .workers import in_processes, in_this_process, on_cluster

TRUTHS_OF_SWEEPS = "The truth of a case that was reconstructed from its sweep was brought onto the reconstruction's grid (linearly, set from 0.5 on)."


@dataclass(frozen=True)
class WorkSettings:
    """Where the work is done, which the results do not depend on. workers: processes of this machine, 1: this one. scheduler: address of a Dask
    cluster's instead, or "".
    """

    workers: int = 1
    scheduler: str = ""


@dataclass(frozen=True, eq=False)
class EvaluatedCohort:
    """A cohort's results, and access to what was kept of each case: its masks and the counts behind the curves, one case in memory at a time.

    keys: case -> key in the store, of the cases that were evaluated. resumed: how many were there from before.
    """

    result: CohortResult
    store: CaseStore
    keys: Mapping[str, str] = field(default_factory=dict)
    resumed: int = 0

    def masks(self, case: str) -> dict[str, PackedMask]:
        """The masks of a case's first box: "truth", "truth:NAME" of other observers, and those of the methods that gave one."""
        return self.store.masks(case, self.keys[case])

    def curves(self) -> dict[str, VoxelCurves]:
        """Method -> voxel curves over all cases, of the methods that give probabilities; counts are whole numbers, so any order gives the same."""
        curves: dict[str, VoxelCurves] = {}
        for _, counts in self.counts():
            for method, values in counts.items():
                add_counts(curves.setdefault(method, VoxelCurves()), values)
        return {method: curves[method] for method in self.result.methods if method in curves}

    def counts(self) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
        """(case, method -> its voxel counts as `storage.counts_of` gives them) of every case that was evaluated."""
        return self.store.all_counts(self.keys)


def evaluate_cohort(
    cases: Sequence[Case | BadCase],
    methods: Sequence[Method],
    settings: StudySettings | None = None,
    *,
    folder: Path,
    work: WorkSettings | None = None,
    provenance: Mapping[str, object] | None = None,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> EvaluatedCohort:
    """Every method on every case, each case kept in `folder` as soon as it is done; those kept from before, of the same files, methods and settings,
    are not evaluated again.

    A case or a method that fails is said in its result and loses no other. provenance: what to add to the cohort's own (settings, seeds, models).
    Raises InputError (and its kinds) when a method cannot be made ready at all, the folder cannot be written or the cluster cannot be reached;
    Cancelled, after which the finished cases are kept.
    """
    settings, work = settings or StudySettings(), work or WorkSettings()
    names = [method.name for method in methods]
    if not names or len(set(names)) != len(names):
        raise InputError(f"The methods {', '.join(names) or '(none)'} cannot be compared; give one or more, each with a name of its own.")
    study, store = Study(tuple(methods), settings), CaseStore(folder)
    good = [case for case in cases if isinstance(case, Case)]
    keys = {case.name: case_key(case, study) for case in good}
    found: dict[str, CaseResult] = {}
    for number, case in enumerate(good):
        stop_if_cancelled(cancelled)
        report(progress, 0.0, f"looking for finished cases, {number + 1} of {len(good)}")
        kept = store.load(case.name, keys[case.name])
        if kept is not None:
            found[case.name] = kept
    resumed = len(found)
    missing = [case for case in good if case.name not in found]
    for record in _records(missing, study, work, cancelled):
        store.save(record, keys[record.result.case])
        found[record.result.case] = record.result
        report(progress, len(found) / len(good), f"case {record.result.case}, {len(found)} of {len(good)}")
    results = tuple(found[case.name] if isinstance(case, Case) else _bad(case) for case in cases)
    about = {**_provenance(good, study), **(provenance or {})}
    kept_keys = {result.case: keys[result.case] for result in results if not result.error}
    return EvaluatedCohort(CohortResult(results, tuple(names), about), store, kept_keys, resumed)


def case_key(case: Case, study: Study) -> str:
    """Digest of all that a case's result depends on: its line of the table, its files, the methods with their models, the settings."""
    columns = ("volume", "truth", "roi", "sweep", "config", "weights")
    files = {column: file_identity(getattr(case, column)) for column in columns}
    line = {"name": case.name, "split": case.split, "seed": case.seed, "echogenicity": case.echogenicity, "extra": dict(case.extra)}
    others = {kind: {name: file_identity(path) for name, path in of.items()} for kind, of in (("masks", case.masks), ("truths", case.truths))}
    methods = [method.identity() for method in study.methods]
    return digest({"format": FORMAT, "line": line, "files": files, **others, "methods": methods, "settings": asdict(study.settings)})


def _records(cases: Sequence[Case], study: Study, work: WorkSettings, cancelled: IsCancelled | None) -> Iterator[CaseRecord]:
    if not cases:
        return iter(())
    if work.scheduler:
        return on_cluster(cases, study, work.scheduler, cancelled=cancelled)
    if min(work.workers, len(cases)) > 1:
        return in_processes(cases, study, work.workers, cancelled=cancelled)
    return in_this_process(cases, study, cancelled=cancelled)


def _bad(case: BadCase) -> CaseResult:
    return CaseResult(case.name, {"split": case.split}, error=case.error)


def _provenance(cases: Sequence[Case], study: Study) -> dict[str, object]:
    models = {method.name: _model(method) for method in study.methods if isinstance(method, NetworkMethod)}
    notes = [TRUTHS_OF_SWEEPS] if any(case.volume is None for case in cases) else []
    return {"settings": asdict(study.settings), "seeds": {"boxes": study.settings.seed}, "models": models, "notes": notes}


def _model(method: NetworkMethod) -> dict[str, object]:
    return {
        "id": method.model_id,
        "threshold": method.threshold.value,
        "tuned": method.threshold.tuned,
        "inference_path": method.threshold.inference_path,
        "mode": "full" if method.whole_volume else "crop",
        "device": method.device,
        "path": method.folder.as_posix(),
        "warnings": list(method.warnings),
    }
