"""What a scene has to know to be taken up where it was left, and its nodes do not say: how the lesion was found, and what has become of it.

It stands in attributes of the nodes, as JSON, and so is saved with them. The probability is not: it is larger than all the rest.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SceneError
from ..scene.build import SceneNodes
from ..scene.lesion import mask_from_node, surface_from_node
from ..scene.nodes import Node, provenance_of
from ..segmentation import surface
from ..types import Box, Finding, Grid, Mask, Quality, Threshold, Volume
from .case_nodes import CaseNodes
from .segmenting import LesionResult
from .sweeps import SweepResult

if TYPE_CHECKING:
    from .flow import Flow

LESION = "LiverLesionSeg.Lesion"
FOUND = "LiverLesionSeg.Found"
ACCEPTED = "LiverLesionSeg.Accepted"
SWEEP_FILE = "LiverLesionSeg.SweepFile"
BY_ACCEPTING = ("accepted", "corrected_voxels")
"""Keys of a mask's provenance that acceptance adds."""


def write_record(node: Node, name: str, record: Mapping[str, Any] | None) -> None:
    """Put a record of JSON values on a node, or take it away (None)."""
    if record is None:
        node.RemoveAttribute(name)
    else:
        node.SetAttribute(name, json.dumps(dict(record), sort_keys=True))


def read_record(node: Node, name: str) -> dict[str, Any] | None:
    """What `write_record` put there; None where there is nothing. Raises SceneError for what is no record."""
    text = node.GetAttribute(name)
    if not text:
        return None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _altered(node) from error
    if not isinstance(record, dict):
        raise _altered(node)
    return record


def _altered(node: Node) -> SceneError:
    return SceneError(f"{node.GetName()}: what the scene says of it cannot be read; the scene was altered, segment the lesion again.")


def keep_sweep(nodes: CaseNodes, sweep: SweepResult) -> None:
    """Put on the volume's node which file it is of, and how good it was."""
    current = nodes.current()
    if current is None or current.volume is None:
        return
    names = ("name", "frames_used", "frames_skipped", "seconds", "warnings")
    record = {name: getattr(sweep, name) for name in names}
    paths = {"path": str(sweep.path.resolve()), "config": str(sweep.config.resolve())}
    write_record(current.volume, SWEEP_FILE, {**record, **paths, "quality": None if sweep.quality is None else asdict(sweep.quality)})


def sweep_of(node: Node, volume: Volume) -> SweepResult | None:
    """The sweep that the volume was made of; None where it was no sweep, or its files are not there any more. Raises SceneError."""
    record = read_record(node, SWEEP_FILE)
    if record is None:
        return None
    try:
        path, config = Path(record["path"]), Path(record["config"])
        if not path.is_file() or not config.is_file():
            return None
        said = record["quality"]
        quality = None if said is None else Quality(said["frames"], said["verdict"], tuple(Finding(**each) for each in said["findings"]))
        seconds = {"sweep to volume": 0.0, **record["seconds"]}
        return SweepResult(
            record["name"], path, config, volume, quality, record["frames_used"], record["frames_skipped"], seconds, tuple(record["warnings"])
        )
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise _altered(node) from error


def keep_lesion(nodes: CaseNodes, lesion: LesionResult) -> None:
    """Put on the segmentation's node how the lesion was found, and the mask as it was before any correction. It is not accepted yet."""
    current = nodes.current()
    if current is None or current.segmentation is None:
        return
    node = current.segmentation
    names = ("method", "value", "device", "model", "model_id", "seen_in_box", "warnings")
    record = {name: getattr(lesion, name) for name in names}
    record["seconds"] = dict(lesion.seconds)
    record["tuned"] = None if lesion.tuned is None else asdict(lesion.tuned)
    box = lesion.box
    record["box"] = {"centre": box.centre.tolist(), "axes": box.axes.tolist(), "size": box.size.tolist(), "frame": box.frame}
    write_record(node, LESION, record)
    write_record(node, FOUND, _packed(lesion.mask))
    write_record(node, ACCEPTED, None)


def _packed(mask: Mask) -> dict[str, Any]:
    bits = base64.b64encode(zlib.compress(np.packbits(mask.array).tobytes(), 1)).decode("ascii")
    return {"shape": list(mask.grid.shape), "ijk_to_ras": mask.grid.ijk_to_ras.tolist(), "frame": mask.grid.frame, "bits": bits}


def _unpacked(node: Node, record: Mapping[str, Any], provenance: Mapping[str, Any]) -> Mask:
    try:
        grid = Grid(tuple(record["shape"]), np.array(record["ijk_to_ras"], dtype=np.float64), str(record["frame"]))
        voxels = math.prod(grid.shape)
        expected = (voxels + 7) // 8
        packed = zlib.decompressobj().decompress(base64.b64decode(record["bits"], validate=True), expected)
        if len(packed) != expected:
            raise _altered(node)
        array = np.unpackbits(np.frombuffer(packed, np.uint8), count=voxels).astype(bool).reshape(grid.shape)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise _altered(node) from error
    return Mask(array, grid, provenance)


def lesion_of(nodes: SceneNodes, volume: Volume, box: Box | None) -> LesionResult | None:
    """The lesion of a scene that was loaded, without its probability; None where there is none, or nothing is left of it.

    mask: as it was found; the node may hold a corrected one. box: the scene's, for a lesion that does not say what it was found in.
    Raises SceneError, SegmentationError where it cannot be read.
    """
    node = nodes.segmentation
    if node is None:
        return None
    shown = mask_from_node(node)
    if not shown.array.any():
        return None
    record, packed = read_record(node, LESION) or {}, read_record(node, FOUND)
    provenance = {key: value for key, value in provenance_of(node).items() if key not in BY_ACCEPTING}
    mask = _unpacked(node, packed, provenance) if packed is not None else Mask(shown.array, shown.grid, provenance)
    try:
        found_in = record.get("box")
        where = Box(np.array(found_in["centre"]), np.array(found_in["axes"]), np.array(found_in["size"]), found_in["frame"]) if found_in else box
        if where is None:
            raise SceneError(f"{node.GetName()}: the scene does not say in which box it was found; draw the box and segment it again.")
        tuned = record.get("tuned")
        return LesionResult(
            record.get("method") or provenance.get("method", ""),
            mask,
            surface_from_node(nodes.surface) if nodes.surface is not None else surface(shown),
            where,
            volume,
            value=None if tuned is None or record.get("value") is None else float(record["value"]),
            tuned=None if tuned is None else Threshold(**{**tuned, "cases": tuple(tuned["cases"])}),
            device=record.get("device", ""),
            model=record.get("model", ""),
            model_id=record.get("model_id", ""),
            seen_in_box=float(record.get("seen_in_box", 1.0)),
            seconds=record.get("seconds", {}),
            warnings=tuple(record.get("warnings", ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _altered(node) from error


def take_up(flow: Flow, nodes: SceneNodes, volume: Volume) -> None:
    """Go on with the box, the lesion and the sweep of a scene that was loaded, whose volume is taken up. Raises SceneError, SegmentationError."""
    flow.boxing.tick()
    lesion = lesion_of(nodes, volume, flow.boxing.box)
    if lesion is not None:
        if nodes.surface is None:
            flow.nodes.show_surface(lesion.surface)
        if flow.nodes.roi() is None:
            flow.boxing.set(lesion.box)
        flow.segmenting.restore(lesion)
        flow.navigating.lesion_changed(lesion.surface)
        flow.reviewing.restore(lesion)
    flow.sweeps.restore(sweep_of(nodes.volume, volume), flow.nodes.patient)


def fingerprint(shown: Mask, outside: int) -> str:
    """Of the voxels on the lesion's grid and their number outside it, so that a mask that was changed after acceptance is noticed."""
    return f"{zlib.crc32(np.packbits(shown.array).tobytes()):08x}-{outside}"
