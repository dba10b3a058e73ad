"""Step 4: from the box to the lesion in the worker; the probability stays, so that another threshold needs no further run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import Cancelled, InputError, SegmentationError
from ..progress import IsCancelled
from ..segmentation import apply_threshold, surface
from ..segmentation.crop import SEEN_WARNING
from ..segmentation.lesion import NOTHING_FOUND
from ..types import Box, Mask, Probability, Surface, Threshold, Volume
from ..worker.client import Worker
from ..worker.job import Job
from .background import Background
from .case_nodes import CaseNodes
from .log import Log
from .running import runs_on
from .state import ATTENTION, DONE, READY, RUNNING, WAITING, StepState, failed, step

NNUNET, GROWING = "nnunet", "region-growing"
NOTHING = "Nothing was found in the box; lower the threshold, draw the box again, or place seeds."


@dataclass(frozen=True, eq=False)
class LesionResult:
    """What is on the screen. value: the threshold that was applied, tuned: the model's own; None for region growing. device, model: who did it.

    box, volume: what it was found in. seconds: stage -> s.
    """

    method: str
    mask: Mask
    surface: Surface
    box: Box
    volume: Volume
    probability: Probability | None = None
    value: float | None = None
    tuned: Threshold | None = None
    device: str = ""
    model: str = ""
    model_id: str = ""
    seen_in_box: float = 1.0
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Segmenting:
    """changed: called on the main thread when another lesion, or none (None), is in the scene."""

    def __init__(
        self,
        worker: Callable[[], Worker],
        background: Background,
        nodes: CaseNodes,
        log: Log,
        changed: Callable[[LesionResult | None], None],
    ) -> None:
        self._worker, self._background, self._nodes, self._log, self._changed = worker, background, nodes, log, changed
        self.volume: Volume | None = None
        self.model: Mapping[str, Any] | None = None
        self.wanted_model = ("", "cpu")
        """Folder ("" for the shipped one) and where it runs (`runs_on`): what is shown, and thus what every run is made with."""
        self._loading = ("", "")
        self.result: LesionResult | None = None
        self.wanted: float | None = None
        self._model_job: Job | None = None
        self._model_error: Exception | None = None
        self._job: Job | None = None
        self._asked: tuple[str, Box] | None = None
        self._error: Exception | None = None
        self._empty = False
        self._begun = 0.0
        self.threshold_ms = 0.0

    @property
    def running(self) -> bool:
        """Whether a lesion is being looked for."""
        return self._job is not None

    @property
    def loading(self) -> bool:
        """Whether a model is being loaded."""
        return self._model_job is not None

    @property
    def asked_box(self) -> Box | None:
        """The box of the run that goes on, or of the last one, whatever became of it."""
        return self._asked[1] if self._asked is not None else None

    def begin(self, volume: Volume | None) -> None:
        """Another volume, or none: no lesion of before counts, and none that is on its way will be shown."""
        self.cancel()
        self._background.forget("threshold")
        self.volume, self.result, self._asked, self._error, self._empty, self.wanted = volume, None, None, None, False, None
        self._job = None

    def restore(self, result: LesionResult) -> None:
        """A lesion that came with a scene, whose nodes are there: without a probability, so that its threshold cannot be moved."""
        self.result, self.wanted, self._asked = result, result.value, (result.method, result.box)

    def load_model(self, threads: int | None = None) -> None:
        """Load the wanted model into the worker; the one before serves no longer. Raises InputError for a folder that is none."""
        folder, choice = self.wanted_model
        self.model, self._model_error, self._loading = None, None, self.wanted_model
        check_model_folder(folder)
        arguments: dict[str, Any] = {**runs_on(choice), "threads": threads}
        if folder:
            arguments["folder"] = folder
        if self._model_job is not None and not self._model_job.done:
            self._worker().cancel(self._model_job)
        self._model_job = self._worker().request("load_model", arguments)

    def segment(self, box: Box) -> None:
        """Look for the lesion in the box by the model, at its tuned threshold. A run that goes on is stopped for it. Raises InputError."""
        if self._loading != self.wanted_model or (self.model is None and self._model_job is None):
            self.load_model()
        self._ask("segment", NNUNET, box, {})

    def grow(self, box: Box, seeds: Any = None) -> None:
        """Look for it by region growing from `seeds` (n, 3), RAS mm of the volume's frame; from the box's centre without any."""
        self._ask("grow", GROWING, box, {"seeds": seeds} if seeds is not None and len(seeds) else {})

    def _ask(self, operation: str, method: str, box: Box, more: dict[str, Any]) -> None:
        if self.volume is None:
            raise SegmentationError("There is no volume to segment in; record a sweep or load one first.")
        self.cancel()
        self._background.forget("threshold")
        self._drop_lesion()
        self._error, self._asked, self._begun = None, (method, box), time.monotonic()
        self._job = self._worker().request(operation, {"box": box, "volume": self.volume, **more})

    def cancel(self) -> None:
        """Stop looking for a lesion. What the scene holds stays as it is."""
        job, self._job = self._job, None
        if job is not None:
            self._worker().cancel(job)
            self._error = Cancelled("Cancelled.")

    def _drop_lesion(self) -> None:
        """While another is looked for, none is shown: an old lesion must not be taken for the new box's."""
        self._empty = False
        if self.result is not None:
            self.result = None
            self._nodes.remove_lesion()
            self._changed(None)

    def set_threshold(self, value: float) -> None:
        """Apply another threshold to the probability that is there, in the background; the newest value wins."""
        result = self.result
        if result is None or result.probability is None or result.tuned is None:
            return
        self.wanted = value
        probability, tuned = result.probability, result.tuned
        chosen = (
            tuned if abs(value - tuned.value) < 1e-6 else replace(tuned, value=value, tuned="given by hand, not tuned", cases=(), least_share=0.0)
        )
        begun = time.perf_counter()

        def work(cancelled: IsCancelled) -> tuple[Mask, Surface]:
            mask = apply_threshold(probability, chosen, box=result.box)
            if told := _left_out(mask):
                raise SegmentationError(told)
            extra = {key: result.mask.provenance[key] for key in ("volume", "box") if key in result.mask.provenance}
            mask = Mask(mask.array, mask.grid, {**mask.provenance, **extra})
            return mask, surface(mask, cancelled=cancelled)

        def then(found: tuple[Mask, Surface]) -> None:
            if self.result is not None and self.result.probability is probability:
                self._empty, self._error = False, None
                said = {*result.mask.provenance.get("warnings", ()), NOTHING_FOUND}
                kept = tuple(text for text in self.result.warnings if text not in said)
                self._show(replace(self.result, mask=found[0], surface=found[1], value=chosen.value, warnings=kept))
                self.threshold_ms = 1000.0 * (time.perf_counter() - begun)

        def failed_(error: Exception) -> None:
            if isinstance(error, Cancelled) or self.result is None or self.result.probability is not probability:
                return
            self._empty, self._error = True, error
            self.result = replace(self.result, value=chosen.value)
            self._nodes.remove_lesion()
            self._changed(None)

        self._background.run("threshold", work, then, failed_)

    def _show(self, result: LesionResult) -> None:
        self.result = result
        self._nodes.show_lesion(result.mask, result.surface)
        self._changed(result)

    def tick(self) -> None:
        """Take what the worker has answered."""
        job = self._model_job
        if job is not None and job.done:
            self._model_job = None
            if job.result is not None:
                self.model = job.result
                self._log.add(f"model {job.result['name']} is loaded on {job.result['device']}")
            elif not isinstance(job.error, Cancelled):
                self._model_error = job.error
                self._log.add(str(job.error), problem=True, error=job.error)
        job = self._job
        if job is not None and job.done:
            self._job = None
            self._answered(job)

    def _answered(self, job: Job) -> None:
        assert self._asked is not None
        if job.result is None:
            # A model that could not be loaded says more than that there is none.
            self._error = self._model_error if self._model_error is not None and job.operation == "segment" else job.error
            self._log.add(f"{job.operation}: {self._error}", problem=True, error=self._error)
            return
        found = job.result
        tuned = found["threshold"]
        seconds = {**{k: float(v) for k, v in found["seconds"].items()}, "box to lesion": time.monotonic() - self._begun}
        common: dict[str, Any] = {
            "box": self._asked[1],
            "volume": self.volume,
            "probability": found["probability"],
            "value": tuned.value if tuned is not None else None,
            "tuned": tuned,
            "device": found["device"],
            "model": self.model["name"] if self.model is not None and found["method"] == NNUNET else "",
            "model_id": found["model_id"],
            "seen_in_box": found["seen_in_box"],
            "seconds": seconds,
            "warnings": tuple(found["warnings"]),
        }
        self.wanted = common["value"]
        self._log.add(f"{found['method']} on {found['device']}: {found['volume_ml']:.2f} mL in {seconds['box to lesion']:.2f} s")
        if found["surface"] is None:
            self._empty = True
            self._error = SegmentationError(_left_out(found["mask"]) or NOTHING)
            if found["probability"] is not None:
                self.result = LesionResult(found["method"], found["mask"], None, **common)  # type: ignore[arg-type]
            return
        self._show(LesionResult(found["method"], found["mask"], found["surface"], **common))

    def state(self, box: Box | None) -> StepState:
        """Where the segmentation stands, for the box that is there now."""
        if self._job is not None:
            loading = self._model_job is not None and self._asked is not None and self._asked[0] == NNUNET
            code = "segment.loading" if loading else "segment.running"
            progress = self._model_job.fraction if loading and self._model_job is not None else self._job.fraction
            return step(RUNNING, code, fraction=progress, cancel=True, text=self._job.text)
        if self.volume is None or box is None:
            return step(WAITING, "segment.waiting")
        if isinstance(self._error, Cancelled):
            return step(READY, "segment.cancelled", "segment")
        if self._error is not None:
            return failed(self._error, "place_box" if self._empty else "segment")
        result = self.result
        if result is None:
            if self._model_error is not None:
                return failed(self._model_error, "grow")
            return step(READY, "segment.ready", "segment")
        values: dict[str, Any] = {
            "ml": result.surface.volume_ml,
            "seconds": result.seconds.get("box to lesion", 0.0),
            "device": result.device,
            "model": result.model,
            "threshold": result.value or 0.0,
        }
        if not same_box(result.box, box):
            return step(ATTENTION, "segment.box_moved", "segment", **values)
        code = "segment.grown" if result.method == GROWING else "segment.done"
        return step(ATTENTION if result.seen_in_box < SEEN_WARNING else DONE, code, details=result.warnings, **values)


def _left_out(mask: Mask | None) -> str:
    """The sentence on what was found and left out of a mask, "" where nothing was."""
    told = [str(text) for text in mask.provenance.get("warnings", ())] if mask is not None and not mask.array.any() else []
    return f"{told[0][0].upper()}{told[0][1:]}." if told else ""


def same_box(a: Box, b: Box) -> bool:
    """Whether two boxes are the same to a hundredth of a millimetre."""
    import numpy as np

    return all(np.allclose(getattr(a, name), getattr(b, name), atol=0.01) for name in ("centre", "axes", "size"))


def check_model_folder(folder: str) -> None:
    """Raises InputError for a folder that is none; the worker says what is wrong inside."""
    if folder and not Path(folder).is_dir():
        raise InputError(f"{folder}: there is no such folder; choose a model's folder, or leave the line empty for the model that is shipped.")
