"""What is kept of each case as soon as it is evaluated, so that a study that was stopped goes on, and a cohort need not fit in memory.

Each case has a folder `cases/NAME-KEY` that appears whole: `result.json` (without times), `seconds.json`, and `voxels.npz` with the counts behind the
curves and the masks. KEY is a digest of everything that the result depends on: nothing stale can be taken for it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.atomic import output_folder, whole_folder
from ..types import Grid, Mask
from .curves import EDGES, CaseCounts
from .results import CaseResult, LesionResult, MethodResult

FORMAT = f"1-{zlib.crc32(EDGES.tobytes()):08x}"
"""Part of every key: what was written in another form, or counted in other bins, is not read."""
RESULT, SECONDS, VOXELS = "result.json", "seconds.json", "voxels.npz"
NAME_CHARACTERS, KEY_CHARACTERS = 60, 16


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A mask as the bits of the smallest part of its grid that holds it. start, shape: of that part, (k, j, i) on `grid`."""

    bits: NDArray[np.uint8]
    start: tuple[int, int, int]
    shape: tuple[int, int, int]
    grid: Grid

    @staticmethod
    def of(mask: Mask) -> PackedMask:
        """Packs; an empty mask keeps one voxel, which is not set."""
        start, stop = [], []
        for axis in range(3):
            along = np.flatnonzero(mask.array.any(axis=tuple(a for a in range(3) if a != axis)))
            start.append(int(along[0]) if len(along) else 0)
            stop.append(int(along[-1]) + 1 if len(along) else 1)
        part = mask.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
        k, j, i = part.shape
        return PackedMask(np.packbits(part.ravel()), (start[0], start[1], start[2]), (k, j, i), mask.grid)

    def mask(self) -> Mask:
        """On its whole grid."""
        part = np.unpackbits(self.bits, count=math.prod(self.shape)).reshape(self.shape).astype(bool)
        array = np.zeros(self.grid.shape, dtype=bool)
        array[tuple(slice(a, a + n) for a, n in zip(self.start, self.shape, strict=True))] = part
        return Mask(array, self.grid)


@dataclass(frozen=True, eq=False)
class CaseRecord:
    """A case's result and what curves and figures need of it: method -> voxel counts, and masks of the first box by "truth", "truth:NAME" or method.

    finished: whether evaluating it again would give the same; what was left out for reasons that may pass is not kept.
    """

    result: CaseResult
    counts: Mapping[str, CaseCounts] = field(default_factory=dict)
    masks: Mapping[str, PackedMask] = field(default_factory=dict)
    finished: bool = True


def digest(value: Any) -> str:
    """SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def file_identity(path: Path | None) -> list[Any] | None:
    """What tells a file from another one and from itself after a change, without reading it: path, bytes, time of its last change."""
    if path is None:
        return None
    try:
        status = Path(path).stat()
    except OSError:
        return [str(Path(path).absolute()), None]
    return [str(Path(path).absolute()), status.st_size, status.st_mtime_ns]


class CaseStore:
    """The finished cases below `folder`; one study writes it at a time. Raises OutputError when the folder cannot be made or written."""

    def __init__(self, folder: Path) -> None:
        self.folder = output_folder(Path(folder) / "cases")
        for left in self.folder.glob(".*"):  # a killed study's half-written case
            shutil.rmtree(left, ignore_errors=True)

    def _place(self, case: str, key: str) -> Path:
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", case)[:NAME_CHARACTERS]
        return self.folder / f"{name}-{key[:KEY_CHARACTERS]}"

    def save(self, record: CaseRecord, key: str) -> None:
        """Keeps a finished case; others pass by. Raises OutputError."""
        if not record.finished:
            return
        place = self._place(record.result.case, key)
        shutil.rmtree(place, ignore_errors=True)
        bare, seconds = split_seconds(record.result)
        with whole_folder(place) as part:
            (part / RESULT).write_text(_json({"key": key, "case": asdict(bare)}), encoding="utf-8")
            (part / SECONDS).write_text(_json(seconds), encoding="utf-8")
            np.savez_compressed(part / VOXELS, **_arrays(record))

    def load(self, case: str, key: str) -> CaseResult | None:
        """A finished case's result, or None; what cannot be read counts as not finished."""
        place = self._place(case, key)
        try:
            record = json.loads((place / RESULT).read_text(encoding="utf-8"))
            seconds = json.loads((place / SECONDS).read_text(encoding="utf-8"))
            if record["key"] != key or not (place / VOXELS).is_file():
                return None
            return join_seconds(_case_result(record["case"]), seconds)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def masks(self, case: str, key: str) -> dict[str, PackedMask]:
        """The masks of a finished case's first box by "truth", "truth:NAME" or method. Raises OSError when there are none."""
        with np.load(self._place(case, key) / VOXELS, allow_pickle=False) as arrays:
            if "grid_shape" not in arrays:
                return {}
            shape = tuple(int(n) for n in arrays["grid_shape"])
            grid = Grid((shape[0], shape[1], shape[2]), arrays["grid_matrix"], str(arrays["grid_frame"]))
            names = [str(name) for name in arrays["mask_names"]]
            return {name: PackedMask(arrays[f"mask{n}_bits"], *_parts(arrays[f"mask{n}_part"]), grid) for n, name in enumerate(names)}

    def counts(self, case: str, key: str, method: str) -> CaseCounts | None:
        """A method's voxel counts of a finished case; None where it gave no probability. Raises OSError when the case is not there."""
        with np.load(self._place(case, key) / VOXELS, allow_pickle=False) as arrays:
            names = [str(name) for name in arrays["count_names"]]
            if method not in names:
                return None
            n = names.index(method)
            return CaseCounts(case, *(arrays[f"count{n}_{kind}"] for kind in ("bins", "lesion", "background")))


@dataclass(frozen=True)
class StoredCounts:
    """One method's voxel counts of the cases of `keys` (case -> key), read anew whenever it is gone through, one case in memory at a time."""

    store: CaseStore
    keys: Mapping[str, str]
    method: str

    def __iter__(self) -> Iterator[CaseCounts]:
        for case, key in self.keys.items():
            counts = self.store.counts(case, key, self.method)
            if counts is not None:
                yield counts


def split_seconds(case: CaseResult) -> tuple[CaseResult, list[dict[str, Any]]]:
    """The case without any time, which two runs share to the byte, and the times of its results."""
    seconds = [{"seconds": dict(result.seconds), "total": result.measures.get("seconds")} for result in case.results]
    bare = [replace(r, seconds={}, measures={name: value for name, value in r.measures.items() if name != "seconds"}) for r in case.results]
    return replace(case, results=tuple(bare)), seconds


def join_seconds(case: CaseResult, seconds: list[dict[str, Any]]) -> CaseResult:
    """Undoes `split_seconds`."""
    results = []
    for result, times in zip(case.results, seconds, strict=True):
        total = {} if "total" not in times or result.error else {"seconds": math.nan if times["total"] is None else times["total"]}
        results.append(replace(result, seconds=dict(times["seconds"]), measures={**result.measures, **total}))
    return replace(case, results=tuple(results))


def _arrays(record: CaseRecord) -> dict[str, Any]:
    arrays: dict[str, Any] = {"count_names": np.array(list(record.counts), dtype=np.str_)}
    for n, counts in enumerate(record.counts.values()):
        arrays |= {f"count{n}_bins": counts.bins, f"count{n}_lesion": counts.lesion, f"count{n}_background": counts.background}
    for n, mask in enumerate(record.masks.values()):
        arrays |= {f"mask{n}_bits": mask.bits, f"mask{n}_part": np.array([mask.start, mask.shape])}
        arrays |= {"grid_shape": np.array(mask.grid.shape), "grid_matrix": mask.grid.ijk_to_ras, "grid_frame": np.array(mask.grid.frame)}
    return arrays | {"mask_names": np.array(list(record.masks), dtype=np.str_)}


def _parts(part: NDArray[Any]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    (a, b, c), (k, j, i) = part.tolist()
    return (a, b, c), (k, j, i)


def _json(value: Any) -> str:
    return json.dumps(_without_nan(value), indent=1, allow_nan=False) + "\n"


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN: null stands for it."""
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _case_result(values: dict[str, Any]) -> CaseResult:
    results = tuple(_method_result(result) for result in values.pop("results"))
    numbers = {name: _number(values.pop(name)) for name in ("truth_ml", "diameter_mm", "contrast", "seen_in_box")}
    return CaseResult(**{**values, **numbers, "results": results, "warnings": tuple(values["warnings"])})


def _method_result(values: dict[str, Any]) -> MethodResult:
    lesions = tuple(
        LesionResult(_number(one["volume_ml"]), _number(one["diameter_mm"]), _number(one["dice"]), bool(one["detected"])) for one in values["lesions"]
    )
    measures = {name: _number(value) for name, value in values["measures"].items()}
    return MethodResult(**{**values, "measures": measures, "lesions": lesions, "warnings": tuple(values["warnings"])})
