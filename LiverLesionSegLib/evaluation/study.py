"""A study: methods side by side on the cases of a table, in parallel, kept case by case, and summed up in one value.

`evaluate_cohort` is what the command line and the Slicer module call. Results do not depend on how many processes or machines there are.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..cohort import BadCase, Case, load_case
from ..cohort.table import FILE_COLUMNS
from ..errors import InputError
from ..files.resources import LIBRARY
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from .methods import Method, NetworkMethod
from .one_case import TRUTH, Study, StudySettings, boxes_of
from .results import CaseResult, CohortResult
from .storage import FORMAT, CaseRecord, CaseStore, StoredCounts, digest, file_identity
from .workers import in_processes, in_this_process, on_cluster

if TYPE_CHECKING:
    from .agreement import CaseAgreement
    from .curves import VoxelCurves
    from .plots_cases import CasePicture
    from .report import ReportSettings
    from .statistics import CohortStatistics

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
    """A cohort's results, and access to what was kept of each case that was evaluated, one case in memory at a time.

    cases, keys: case -> its line of the table, and its key in the store. resumed: how many were there from before.
    """

    result: CohortResult
    settings: StudySettings
    store: CaseStore
    cases: Mapping[str, Case] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    resumed: int = 0

    def counts(self) -> dict[str, StoredCounts]:
        """Method -> its cases' voxel counts, for `curve_statistics` and `curves_of`, of the methods that give probabilities."""
        networks = {result.method for case in self.result.evaluated for result in case.results if result.threshold is not None}
        return {method: StoredCounts(self.store, self.keys, method) for method in self.result.methods if method in networks}

    def curves(self) -> dict[str, VoxelCurves]:
        """Method -> the curves of all voxels that it looked at, of the methods that give probabilities."""
        from .curves import curves_of

        return {method: curves_of(cases) for method, cases in self.counts().items()}

    def thresholds(self) -> dict[str, float | None]:
        """Method -> the probability threshold that its masks were made with; None where it has none."""
        from .report import frozen_thresholds

        return frozen_thresholds(self.result)

    def agreement(self, *, cancelled: IsCancelled | None = None) -> tuple[CaseAgreement, ...]:
        """How the observers of each case agree that has more than one truth (columns truth:NAME); "truth" is that of the column truth."""
        from .agreement import agreement

        found = []
        for name in [name for name, case in self.cases.items() if case.truths]:
            stop_if_cancelled(cancelled)
            packed = self.store.masks(name, self.keys[name])
            truths = {rater.removeprefix(f"{TRUTH}:"): one.mask() for rater, one in packed.items() if rater == TRUTH or rater.startswith(f"{TRUTH}:")}
            if len(truths) > 1:
                found.append(agreement(name, truths)[0])
        return tuple(found)

    def picture(self, name: str, *, cancelled: IsCancelled | None = None) -> CasePicture:
        """What a case's pictures are drawn from: its volume, read or reconstructed again, and the masks that were kept."""
        from .plots_cases import CasePicture

        case, packed = self.cases[name], self.store.masks(name, self.keys[name])
        loaded = load_case(case, allow_empty=True, threads=self.settings.threads, cancelled=cancelled)
        masks = {method: packed[method].mask() for method in self.result.methods if method in packed}
        return CasePicture(name, loaded.volume, boxes_of(loaded, self.settings)[0], packed[TRUTH].mask(), masks)


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
    if any(name == TRUTH or name.startswith(f"{TRUTH}:") for name in names):
        raise InputError(f"A method cannot be called {TRUTH}; give its column, or its model, another name.")
    if len({case.name for case in cases}) != len(cases):
        raise InputError("Two cases of the study have one name; give every case a name of its own.")
    study, store = Study(tuple(methods), settings, str(Path.cwd())), CaseStore(folder)
    good = [_with_absolute_paths(case) for case in cases if isinstance(case, Case)]
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
    with closing(_records(missing, study, work, cancelled)) as records:  # whatever happens, no process outlives this
        for record in records:
            store.save(record, keys[record.result.case])
            found[record.result.case] = record.result
            report(progress, len(found) / len(good), f"case {record.result.case}, {len(found)} of {len(good)}")
    results = tuple(found[case.name] if isinstance(case, Case) else _bad(case) for case in cases)
    about = {**_provenance(good, study), **(provenance or {})}
    evaluated = {case.name: case for case in good if not found[case.name].error}
    kept_keys = {name: keys[name] for name in evaluated}
    return EvaluatedCohort(CohortResult(results, tuple(names), about), settings, store, evaluated, kept_keys, resumed)


def write_study_report(
    found: EvaluatedCohort,
    folder: Path,
    settings: ReportSettings | None = None,
    *,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> tuple[CohortStatistics, dict[str, Path]]:
    """The statistics of a study, and its report in `folder`, name -> path, with all that was kept of the cases: curves, agreement, pictures.

    Raises OutputError when something cannot be written; Cancelled.
    """
    from .agreement import cohort_agreement
    from .curve_statistics import curve_statistics
    from .report import write_report
    from .statistics import cohort_statistics

    counts = found.counts()
    report(progress, 0.0, "statistics")
    statistics = cohort_statistics(found.result)
    stop_if_cancelled(cancelled)
    report(progress, 0.1, "statistics of the curves")
    of_curves = curve_statistics(counts) if counts else None
    agreed = found.agreement(cancelled=cancelled)
    paths = write_report(
        folder,
        found.result,
        statistics=statistics,
        curves=found.curves(),
        curve_statistics=of_curves,
        agreement=cohort_agreement(agreed) if agreed else None,
        pictures=found.picture,
        settings=settings,
        progress=progress,
        cancelled=cancelled,
    )
    return statistics, paths


def case_key(case: Case, study: Study) -> str:
    """Digest of all that a case's result depends on: its line of the table, its files, the methods with their models, the settings."""
    files = {column: file_identity(getattr(case, column)) for column in FILE_COLUMNS}
    line = {"name": case.name, "split": case.split, "seed": case.seed, "echogenicity": case.echogenicity, "extra": dict(case.extra)}
    others = {kind: {name: file_identity(path) for name, path in of.items()} for kind, of in (("masks", case.masks), ("truths", case.truths))}
    methods = [method.identity() for method in study.methods]
    return digest({"format": FORMAT, "line": line, "files": files, **others, "methods": methods, "settings": asdict(study.settings)})


def _with_absolute_paths(case: Case) -> Case:
    """A cluster's workers have working directories of their own."""
    files = {column: path.absolute() for column in FILE_COLUMNS if (path := getattr(case, column)) is not None}
    masks, truths = ({name: path and path.absolute() for name, path in of.items()} for of in (case.masks, case.truths))
    return replace(case, masks=masks, truths=truths, **files)


def _records(cases: Sequence[Case], study: Study, work: WorkSettings, cancelled: IsCancelled | None) -> Generator[CaseRecord, None, None]:
    if not cases:
        return
    if work.scheduler:
        yield from on_cluster(cases, study, work.scheduler, cancelled=cancelled)
    elif min(work.workers, len(cases)) > 1:
        yield from in_processes(cases, study, work.workers, cancelled=cancelled)
    else:
        yield from in_this_process(cases, study, cancelled=cancelled)


def _bad(case: BadCase) -> CaseResult:
    return CaseResult(case.name, {"split": case.split}, error=case.error)


def _provenance(cases: Sequence[Case], study: Study) -> dict[str, object]:
    models = {method.name: _model(method, study.folder) for method in study.methods if isinstance(method, NetworkMethod)}
    notes = [TRUTHS_OF_SWEEPS] if any(case.volume is None for case in cases) else []
    # The phantom's tables say of every case which seed it was made from.
    simulated = any(case.extra.get("phantom_seed") for case in cases)
    return {"simulated": simulated, "settings": asdict(study.settings), "seeds": {"boxes": study.settings.seed}, "models": models, "notes": notes}


def _model(method: NetworkMethod, folder: str) -> dict[str, object]:
    # Where this software or the study lies on this machine is nothing that another one could use.
    inside = next((base for base in (folder, LIBRARY.parent, LIBRARY) if method.folder.is_relative_to(base)), None)
    path = method.folder if inside is None else method.folder.relative_to(inside)
    return {
        "id": method.model_id,
        "threshold": method.threshold.value,
        "least_share": method.threshold.least_share,
        "tuned": method.threshold.tuned,
        "inference_path": method.threshold.inference_path,
        "mode": "full" if method.whole_volume else "crop",
        "device": method.device,
        "path": path.as_posix(),
        "warnings": list(method.warnings),
    }
