"""PLUS device-set configurations: calibration, clip region and reconstruction settings.

Attribute names, also the replaced ones: Plus application documentation and IGSIO's vtkIGSIOVolumeReconstructor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CalibrationError
from ..types import Calibration, Fan, FloatArray
from .transform_graph import find_path, split_name

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_CONFIG_BYTES = 8 << 20
MAX_MATRIX_VALUE = 1e6

INTERPOLATIONS = {"NEAREST_NEIGHBOR": "nearest", "LINEAR": "linear"}
COMPOUNDINGS = {"MEAN": "mean", "MAXIMUM": "maximum", "LATEST": "latest"}


@dataclass(frozen=True)
class PlusConfig:
    """A device-set configuration. Everything but the calibration is None where the file does not say it.

    spacing_mm: (x, y, z) of the output; interpolation: nearest or linear; compounding: mean, maximum or latest;
    output_origin: (3,) mm in the reference frame; output_extent: (i first, i last, j first, j last, k first, k last) voxels.
    """

    calibration: Calibration
    spacing_mm: tuple[float, float, float] | None = None
    interpolation: str | None = None
    compounding: str | None = None
    fill_holes: bool | None = None
    output_origin: tuple[float, float, float] | None = None
    output_extent: tuple[int, int, int, int, int, int] | None = None
    warnings: tuple[str, ...] = ()


def read_plus_config(path: str | Path) -> PlusConfig:
    """Read a PLUS device-set configuration. Entities and DTDs are refused.

    Raises CalibrationError when the file is no such configuration or holds no single usable image-to-probe calibration.
    """
    path = Path(path)
    root = _parse(path)
    warnings: list[str] = []
    settings = root.find(".//VolumeReconstruction")
    attributes: Mapping[str, str] = {} if settings is None else settings.attrib
    transforms = _transforms(path, root)
    image_frame = attributes.get("ImageCoordinateFrame", "Image").strip()
    probe_frame, image_to_probe = _image_to_probe(path, root, transforms, image_frame)
    transforms.pop(f"{image_frame}To{probe_frame}", None)
    calibration = Calibration(
        image_to_probe=image_to_probe,
        clip_px=_clip(path, attributes),
        fan=_fan(path, attributes),
        image_frame=image_frame,
        probe_frame=probe_frame,
        reference_frame=attributes.get("ReferenceCoordinateFrame", "Reference").strip(),
        time_offset_s=_time_offset(path, root, warnings),
        static_transforms=transforms,
        source=str(path),
    )
    spacing = _vector(path, attributes, "OutputSpacing", 3)
    if spacing is not None and min(spacing) <= 0:
        raise CalibrationError(f"{path}: OutputSpacing “{attributes['OutputSpacing'][:40]}” must be three positive lengths in mm; correct it.")
    origin, extent = _vector(path, attributes, "OutputOrigin", 3), _vector(path, attributes, "OutputExtent", 6)
    return PlusConfig(
        calibration=calibration,
        spacing_mm=None if spacing is None else (spacing[0], spacing[1], spacing[2]),
        interpolation=_choice(path, attributes, "Interpolation", INTERPOLATIONS),
        compounding=_compounding(path, attributes, warnings),
        fill_holes=_on_off(path, attributes, "FillHoles"),
        output_origin=None if origin is None else (origin[0], origin[1], origin[2]),
        output_extent=None if extent is None else _whole_numbers(path, "OutputExtent", extent),  # type: ignore[arg-type]
        warnings=tuple(warnings),
    )


def read_static_transforms(path: str | Path) -> dict[str, FloatArray]:
    """Every transform of a configuration's CoordinateDefinitions, "FromToTo" -> (4, 4), mm; an image calibration need not be among them.

    Raises CalibrationError when the file is no such configuration or one of its transforms is malformed.
    """
    path = Path(path)
    return _transforms(path, _parse(path))


def _parse(path: Path) -> Element:
    from xml.etree.ElementTree import ParseError

    from defusedxml import ElementTree
    from defusedxml.common import DefusedXmlException

    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be read ({error.strerror or error}); check the path and the permissions.") from error
    if len(text) > MAX_CONFIG_BYTES:
        raise CalibrationError(f"{path}: over {MAX_CONFIG_BYTES >> 20} MB, so this is no PLUS configuration; choose the device-set XML file.")
    try:
        root = ElementTree.fromstring(text, forbid_dtd=True)
    except DefusedXmlException as error:
        raise CalibrationError(f"{path}: XML with a document type or entities is not read; remove the DOCTYPE from the file.") from error
    except (ParseError, ValueError, LookupError) as error:
        raise CalibrationError(f"{path}: is not well-formed XML ({error}); choose the PLUS device-set configuration.") from error
    if root.tag != "PlusConfiguration" and root.find(".//CoordinateDefinitions") is None:
        raise CalibrationError(f"{path}: is XML but no PLUS configuration (its root is {root.tag[:40]}); choose the device-set file.")
    return root


def _transforms(path: Path, root: Element) -> dict[str, FloatArray]:
    """Every CoordinateDefinitions transform, "FromToTo" -> (4, 4)."""
    found: dict[str, FloatArray] = {}
    for element in root.iterfind(".//CoordinateDefinitions/Transform"):
        start, end = element.get("From", "").strip(), element.get("To", "").strip()
        text = element.get("Matrix")
        if not start or not end or text is None:
            raise CalibrationError(f"{path}: a Transform of CoordinateDefinitions lacks From, To or Matrix; complete or remove it.")
        name = f"{start}To{end}"
        values = _floats(path, name, text)
        if len(values) != 16:
            raise CalibrationError(f"{path}: {name} has {len(values)} numbers instead of 16; correct its Matrix.")
        if any(abs(value) > MAX_MATRIX_VALUE for value in values):
            raise CalibrationError(f"{path}: {name} holds {max(values, key=abs):g}, which is no length in mm; correct its Matrix.")
        if split_name(name) != (start, end):
            raise CalibrationError(
                f"{path}: a transform leads from “{start[:40]}” to “{end[:40]}”; frame names start with a capital letter, correct it."
            )
        if name in found or f"{end}To{start}" in found:
            raise CalibrationError(f"{path}: {start} to {end} is defined more than once; remove all but the one that holds.")
        found[name] = np.array(values).reshape(4, 4)
    return found


def _image_to_probe(path: Path, root: Element, transforms: Mapping[str, FloatArray], image: str) -> tuple[str, FloatArray]:
    """(probe frame's name, image-to-probe), through several static transforms if need be."""
    frames = {frame for name in transforms for frame in split_name(name)}
    reachable = {frame: steps for frame in sorted(frames - {image}) if (steps := find_path(list(transforms), image, frame)) is not None}
    tools = {e.get("Id", "") for e in root.iterfind(".//DataSource") if e.get("Type", "").lower() == "tool"}
    direct = [f for f, steps in reachable.items() if len(steps) == 1 and not f.startswith("TransducerOrigin")]
    candidates = sorted(tools & set(reachable)) if "Probe" not in reachable else ["Probe"]
    candidates = candidates or direct
    if not candidates:
        raise CalibrationError(
            f"{path}: has no transform from {image} to the probe in CoordinateDefinitions; calibrate the probe (fCal) and use the file that saves."
        )
    if len(candidates) > 1:
        raise CalibrationError(
            f"{path}: {image} has transforms to {', '.join(candidates)}, and which of them is the probe is not said; keep one, or name it Probe."
        )
    matrix = np.eye(4)
    for name, inverse in reachable[candidates[0]]:
        step = transforms[name]
        if not np.all(np.isfinite(step)) or (inverse and abs(np.linalg.det(step)) < 1e-15):
            raise CalibrationError(f"{path}: {name} is not finite or cannot be inverted; calibrate the probe again.")
        with np.errstate(over="ignore", invalid="ignore"):  # the Calibration refuses what is not finite
            matrix = (np.linalg.inv(step) if inverse else step) @ matrix
    return candidates[0], matrix


def _clip(path: Path, attributes: Mapping[str, str]) -> tuple[int, int, int, int] | None:
    origin, size = _vector(path, attributes, "ClipRectangleOrigin", 2), _vector(path, attributes, "ClipRectangleSize", 2)
    if size is None or size == (0, 0):  # PLUS's default, the whole image
        return None
    x, y, w, h = _whole_numbers(path, "ClipRectangleOrigin/Size", (*(origin or (0.0, 0.0)), *size))
    return x, y, w, h


def _fan(path: Path, attributes: Mapping[str, str]) -> Fan | None:
    angles = _vector(path, attributes, "FanAnglesDeg", 2, "FanAngles")
    if angles is None or angles == (0, 0):  # PLUS: both zero means no fan
        return None
    origin = _vector(path, attributes, "FanOriginPixel", 2, "FanOrigin")
    stop = _vector(path, attributes, "FanRadiusStopPixel", 1, "FanDepth")
    start = _vector(path, attributes, "FanRadiusStartPixel", 1) or (0.0,)
    if origin is None or stop is None:
        raise CalibrationError(f"{path}: the fan has angles but no FanOriginPixel or FanRadiusStopPixel; complete it, or remove FanAnglesDeg.")
    return Fan((origin[0], origin[1]), (angles[0], angles[1]), (start[0], stop[0]))


def _time_offset(path: Path, root: Element, warnings: list[str]) -> float:
    """Tracker's LocalTimeOffsetSec less the image's: each device's offset leads from its own time to the common one."""
    tracker: set[float] = set()
    image: set[float] = set()
    for device in root.iterfind(".//Device"):
        values = _vector(path, device.attrib, "LocalTimeOffsetSec", 1) or (0.0,)
        kinds = {e.get("Type", "").lower() for e in device.iterfind(".//DataSource")}
        if "tool" in kinds:
            tracker.add(values[0])
        if "video" in kinds:
            image.add(values[0])
    if len(tracker) > 1 or len(image) > 1:
        warnings.append("Several trackers or image sources have different LocalTimeOffsetSec values; none was used.")
        return 0.0
    return sum(tracker) - sum(image)


def _floats(path: Path, name: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split())
    except ValueError as error:
        raise CalibrationError(f"{path}: {name} “{' '.join(text.split())[:60]}” is not a list of numbers; correct it.") from error


def _vector(path: Path, attributes: Mapping[str, str], name: str, count: int, legacy: str | None = None) -> tuple[float, ...] | None:
    if name not in attributes and legacy in attributes:
        name = legacy  # type: ignore[assignment]
    if name not in attributes:
        return None
    values = _floats(path, name, attributes[name])
    if len(values) != count or not np.all(np.isfinite(values)):
        raise CalibrationError(f"{path}: {name} “{attributes[name][:60]}” must be {count} finite numbers; correct it.")
    return values


def _whole_numbers(path: Path, name: str, values: tuple[float, ...]) -> tuple[int, ...]:
    if any(not v.is_integer() or abs(v) > 2**31 for v in values):
        raise CalibrationError(f"{path}: {name} must be whole numbers, not {' '.join(f'{v:g}' for v in values)}; correct it.")
    return tuple(int(v) for v in values)


def _choice(path: Path, attributes: Mapping[str, str], name: str, words: Mapping[str, str]) -> str | None:
    if name not in attributes:
        return None
    word = attributes[name].strip().upper()
    if word not in words:
        raise CalibrationError(f"{path}: {name} is “{word[:40]}”; use one of {', '.join(words)}.")
    return words[word]


def _compounding(path: Path, attributes: Mapping[str, str], warnings: list[str]) -> str | None:
    if attributes.get("CompoundingMode", "").strip().upper() == "IMPORTANCE_MASK":
        warnings.append("CompoundingMode IMPORTANCE_MASK is not available here; the default is used unless another is chosen.")
        return None
    if "CompoundingMode" in attributes:
        return _choice(path, attributes, "CompoundingMode", COMPOUNDINGS)
    if "Calculation" in attributes and attributes["Calculation"].strip().upper() == "MAXIMUM":
        return "maximum"
    on = _on_off(path, attributes, "Compounding")
    return None if on is None else "mean" if on else "latest"


def _on_off(path: Path, attributes: Mapping[str, str], name: str) -> bool | None:
    if name not in attributes:
        return None
    word = attributes[name].strip().upper()
    if word not in ("ON", "OFF", "TRUE", "FALSE"):
        raise CalibrationError(f"{path}: {name} is “{word[:40]}”; use ON or OFF.")
    return word in ("ON", "TRUE")
