"""Boxes as Slicer's markups ROI files (`.mrk.json`), LPS or RAS in the file, RAS inside.

Format: Slicer documentation, "Markups JSON file format".
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BoxError
from ..geometry import axes_to_lps, lps_to_ras, oriented_markups_to_ras, ras_to_lps
from ..types import Box
from .atomic import whole_file

MAXIMUM_BYTES = 1_000_000
SCHEMA = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"


def read_box(path: Path, frame: str = "Reference") -> Box:
    """The first box ROI of a markups file, in the frame of the volume that it was drawn on: the file itself names none.

    Raises BoxError when the file is unreadable or holds no usable box.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            raise BoxError(f"{path}: is far larger than a markups ROI file; save the ROI from Slicer as .mrk.json.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BoxError(f"{path}: cannot be read ({error.strerror}); check the name.") from error
    except (ValueError, RecursionError) as error:
        raise BoxError(f"{path}: is not a markups file (JSON); save the ROI from Slicer as .mrk.json.") from error
    roi = _first_roi(content)
    if roi is None:
        raise BoxError(f"{path}: holds no box ROI; place one in Slicer and save it as .mrk.json.")
    system = str(roi.get("coordinateSystem", "LPS")).upper()
    if system not in ("LPS", "RAS", "0", "1"):
        raise BoxError(f"{path}: coordinate system {system} is not known; save the ROI in LPS or RAS.")
    system = {"0": "RAS", "1": "LPS"}.get(system, system)
    if roi.get("roiType", "Box") not in ("Box", "BoundingBox") or roi.get("coordinateUnits", "mm") not in ("mm", ["mm", "mm", "mm"]):
        raise BoxError(f"{path}: is a {roi.get('roiType')} in {roi.get('coordinateUnits')}; place a box ROI in mm and save it as .mrk.json.")
    try:
        centre = np.array(roi["center"], dtype=np.float64)
        size = np.array(roi["size"], dtype=np.float64)
        axes = oriented_markups_to_ras(roi["orientation"], system) if "orientation" in roi else np.eye(3)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BoxError(f"{path}: its ROI has no usable centre, size and orientation; place the box again.") from error
    try:
        return Box(lps_to_ras(centre) if system == "LPS" and centre.shape == (3,) else centre, axes, size, frame)
    except BoxError as error:
        raise BoxError(f"{path}: {error}") from error


def _first_roi(content: Any) -> dict[str, Any] | None:
    markups = content.get("markups") if isinstance(content, dict) else None
    if not isinstance(markups, list):
        return None
    return next((m for m in markups if isinstance(m, dict) and m.get("type") == "ROI"), None)


def write_box(path: Path, box: Box, name: str = "Lesion box") -> None:
    """Write `box` as a markups ROI in LPS, as Slicer does."""
    roi = {
        "type": "ROI",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "name": name,
        "roiType": "Box",
        "center": ras_to_lps(box.centre).tolist(),
        "orientation": axes_to_lps(box.axes).ravel().tolist(),
        "size": box.size.tolist(),
        "insideOut": False,
        "controlPoints": [
            {"id": "1", "label": f"{name}-1", "position": ras_to_lps(box.centre).tolist(), "selected": True, "locked": False, "visibility": True}
        ],
    }
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps({"@schema": SCHEMA, "markups": [roi]}, indent=1) + "\n", encoding="utf-8")
