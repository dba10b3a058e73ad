"""Step 5: the surgeon's correction. The segment editor's node is set up for it; acceptance writes files, provenance and times."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import Cancelled, SceneError, SegmentationError
from ..files.boxes import write_box
from ..files.segmentations import write_segmentation
from ..files.volumes import write_volume
from ..progress import IsCancelled
from ..scene.lesion import mask_from_node
from ..scene.nodes import Node, mark
from ..segmentation import surface
from ..types import Mask, Surface
from .background import Background
from .case_log import ROI, CaseLog, full_disk_is_said, relative, seconds_of
from .case_nodes import CaseNodes
from .log import Log
from .restoring import ACCEPTED, fingerprint, read_record, write_record
from .segmenting import LesionResult
from .state import DONE, READY, RUNNING, WAITING, StepState, failed, step
from .sweeps import SweepResult

EDITOR = "LiverLesionSeg editor"


@dataclass(frozen=True, eq=False)
class Accepted:
    """An accepted lesion. corrected: voxels that differ from what was found; seconds: from the lesion's appearance to acceptance.

    name: of the case. renewed: whether the surface is another than the one that was shown.
    """

    mask: Mask
    surface: Surface
    corrected: int
    seconds: float
    table: Path
    name: str
    renewed: bool = False


class Reviewing:
    """then: called on the main thread with an accepted lesion, whose surface is in the scene."""

    def __init__(self, background: Background, nodes: CaseNodes, log: Log, then: Callable[[Accepted], None]) -> None:
        self._background, self._nodes, self._log, self._then = background, nodes, log, then
        self.folder = Path()
        self.is_reference = False
        self.lesion: LesionResult | None = None
        self.accepted: Accepted | None = None
        self._error: Exception | None = None
        self._shown_at = 0.0
        self._surface: Surface | None = None
        self._fingerprint = ""
        self._restored = self._by_hand = False
        self._asked: tuple[int, int] = (0, 0)

    def begin(self, lesion: LesionResult | None) -> None:
        """Another lesion, or none, is in the scene: what was accepted before counts no more."""
        self._background.forget("accept")
        if lesion is None or self.lesion is None:
            self._shown_at = time.monotonic()
        self.lesion, self.accepted, self._error, self._asked = lesion, None, None, (0, 0)
        self._surface = lesion.surface if lesion is not None else None
        self._restored = False

    def restore(self, lesion: LesionResult) -> None:
        """A lesion that came with a scene. It counts as accepted where it was, and nobody has changed it since. Raises SceneError."""
        self.begin(lesion)
        self._restored = True  # the surface that came with it may be a corrected mask's
        node = self._segmentation()
        record = read_record(node, ACCEPTED) if node is not None else None
        if node is None or record is None:
            return
        mask, corrected, print_ = self._look(node, lesion)
        if record.get("fingerprint") == print_:
            table, name = Path(str(record.get("table", ""))), str(record.get("case", ""))
            seconds = record.get("seconds")
            self.accepted = Accepted(mask, lesion.surface, corrected, seconds if isinstance(seconds, float) else 0.0, table, name)

    def corrected_by_hand(self) -> bool:
        """Whether the scene's lesion is another than the one that was found, so that looking for it anew would lose something."""
        node, lesion = self._segmentation(), self.lesion
        if node is None or lesion is None:
            return False
        key = (id(lesion), _changed(node))
        if key != self._asked:  # a slider that is dragged asks often, and looking takes as long as a few pictures of the live image
            try:
                self._asked, self._by_hand = key, self._look(node, lesion)[1] > 0
            except (SceneError, SegmentationError):  # its segment is gone, or there are others: by hand, too
                return True
        return self._by_hand

    def _segmentation(self) -> Node | None:
        current = self._nodes.current()
        return current.segmentation if current is not None else None

    def _look(self, node: Node, lesion: LesionResult) -> tuple[Mask, int, str]:
        """The lesion as the scene has it, how many voxels of it differ from what was found, and its fingerprint."""
        shown = mask_from_node(node, grid=lesion.mask.grid)
        corrected = int(np.count_nonzero(shown.array != lesion.mask.array))
        outside = _voxels_outside(node, shown)
        print_ = fingerprint(shown, outside)
        if outside:
            shown = mask_from_node(node, grid=lesion.volume.grid)
        return shown, corrected + outside, print_

    def editor_node(self) -> Node:
        """The scene's segment editor node of this module, set up for the lesion. Raises SegmentationError before there is one."""
        current = self._nodes.current()
        if current is None or current.segmentation is None:
            raise SegmentationError("There is no lesion to correct; segment it first.")
        scene = self._nodes.scene
        node = scene.GetSingletonNode(EDITOR, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(EDITOR)
            node.SetName(EDITOR)
            node = scene.AddNode(node)
        node.SetAndObserveSegmentationNode(current.segmentation)
        node.SetAndObserveSourceVolumeNode(current.volume)
        node.SetSelectedSegmentID(current.segmentation.GetSegmentation().GetNthSegmentID(0))
        node.SetOverwriteMode(node.OverwriteNone)
        return node

    def accept(self, sweep: SweepResult | None, patient: str) -> None:
        """Take the lesion as the scene has it now, corrections and all, and write it down. Returns at once; the answer comes with `tick`s.

        Raises SegmentationError where there is none.
        """
        node, lesion = self._segmentation(), self.lesion
        if node is None or lesion is None:
            raise SegmentationError("There is no lesion to accept; segment it first.")
        shown, corrected, print_ = self._look(node, lesion)
        if not shown.array.any():
            raise SegmentationError("The lesion was erased altogether; paint it, or segment it again.")
        seconds = time.monotonic() - self._shown_at
        about = {**lesion.mask.provenance, "accepted": datetime.now().astimezone().isoformat(timespec="seconds"), "corrected_voxels": corrected}
        mask = Mask(shown.array, shown.grid, about)
        sweep_name, folder = self._nodes.sweep, self.folder
        found, before, restored = replace(lesion), self._surface, self._restored
        self._error, self._fingerprint = None, print_

        def work(cancelled: IsCancelled) -> Accepted:
            shape = surface(mask, cancelled=cancelled) if corrected or restored else lesion.surface
            source = relative(sweep.path, folder) if sweep is not None else ""
            name = CaseLog(folder).name_of(sweep_name, patient, source, lesion.box)
            accepted = Accepted(mask, shape, corrected, seconds, folder / "cases.csv", name, shape is not before)
            _write(folder, accepted, found, sweep, patient, self.is_reference)
            return accepted

        self._background.run("accept", work, self._done, self._failed)

    def _done(self, accepted: Accepted) -> None:
        self.accepted = accepted
        node = self._segmentation()
        if node is not None:
            mark(node, provenance=accepted.mask.provenance)
            about = {"case": accepted.name, "table": str(accepted.table), "seconds": accepted.seconds, "fingerprint": self._fingerprint}
            write_record(node, ACCEPTED, about)
        if accepted.renewed:
            self._surface = accepted.surface
            self._nodes.show_surface(accepted.surface)
        self._log.add(f"accepted after {accepted.seconds:.0f} s, {accepted.corrected} voxels corrected")
        self._then(accepted)

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, Cancelled):
            self._error = error
            self._log.add(str(error), problem=True, error=error)

    def state(self) -> StepState:
        """Where the review stands."""
        if self._background.busy("accept"):
            return step(RUNNING, "review.writing")
        if self.lesion is None:
            return step(WAITING, "review.waiting")
        if self._error is not None:
            return failed(self._error, "accept")
        if self.accepted is None:
            return step(READY, "review.ready", "accept", ml=self.lesion.surface.volume_ml)
        values: dict[str, Any] = {"ml": self.accepted.surface.volume_ml, "corrected": self.accepted.corrected, "seconds": self.accepted.seconds}
        return step(DONE, "review.done", table=str(self.accepted.table), **values)


def _changed(node: Node) -> int:
    """A number that grows with every change of the segments' voxels."""
    import slicer

    segmentation, kind = node.GetSegmentation(), slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segments = [segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments())]
    images = [segment.GetRepresentation(kind) for segment in segments]
    return max([segmentation.GetMTime(), *(each.GetMTime() for each in (*segments, *images) if each is not None)])


def _voxels_outside(node: Node, inside: Mask) -> int:
    """How many voxels of the edited segment lie outside the grid of the mask that was read of it."""
    import slicer

    image = slicer.vtkOrientedImageData()
    if not node.GetBinaryLabelmapRepresentation(node.GetSegmentation().GetNthSegmentID(0), image) or image.IsEmpty():
        return 0
    from ..scene.nodes import from_image_data

    return max(int(np.count_nonzero(from_image_data(image))) - int(np.count_nonzero(inside.array)), 0)


def _write(folder: Path, accepted: Accepted, lesion: LesionResult, sweep: SweepResult | None, patient: str, is_reference: bool) -> None:
    """Masks, box and line of the table; the volume only where no sweep gives it."""
    name = accepted.name
    mask_path, found_path, roi_path, volume_path = (folder / f"{name}{end}" for end in ("_accepted.seg.nrrd", "_found.seg.nrrd", ROI, "_volume.nrrd"))
    with full_disk_is_said(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_box(roi_path, lesion.box)  # first: by it the case is known again, should the rest not find room
        write_segmentation(mask_path, accepted.mask)
        write_segmentation(found_path, lesion.mask)
        if sweep is None:
            write_volume(volume_path, lesion.volume)
    tuned = lesion.tuned is not None and lesion.value is not None and abs(lesion.value - lesion.tuned.value) < 1e-6
    line: dict[str, Any] = {
        "case": name,
        "volume": "" if sweep is not None else relative(volume_path, folder),
        "truth": relative(mask_path, folder) if is_reference else "",
        "roi": relative(roi_path, folder),
        "sweep": relative(sweep.path, folder) if sweep is not None else "",
        "config": relative(sweep.config, folder) if sweep is not None else "",
        "mask:accepted": relative(mask_path, folder),
        "mask:found": relative(found_path, folder),
        "patient": patient,
        "accepted": accepted.mask.provenance["accepted"],
        "method": lesion.method,
        "model": lesion.model,
        "model_id": lesion.model_id,
        "device": lesion.device,
        "threshold": "" if lesion.value is None else f"{lesion.value:.4f}",
        "threshold_tuned": "" if lesion.value is None else ("yes" if tuned else "no"),
        "volume_ml": f"{accepted.mask.volume_ml:.4f}",
        "corrected_voxels": str(accepted.corrected),
        "seen_in_box": f"{lesion.seen_in_box:.3f}",
        "sweep_to_volume_s": seconds_of(sweep.seconds, ["sweep to volume"]) if sweep is not None else "",
        "segment_s": seconds_of(lesion.seconds, ["box to lesion"]),
        "correction_s": f"{accepted.seconds:.2f}",
        "verdict": sweep.quality.verdict if sweep is not None and sweep.quality is not None else "",
        "warnings": " ".join(lesion.warnings),
        "version": __version__,
    }
    CaseLog(folder).write(line)
