"""The value types that pass between stages: frozen, validated when made, without other logic.

Arrays are indexed [k, j, i] (volumes) or [frame, row, column] (sweeps) and are read-only views of what was given. Lengths are in mm,
times in s, points in the right-anterior-superior (RAS) frame named by the grid. Transforms are 4x4 float64 acting on column vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import BoxError, CalibrationError, GridError, SweepError, VolumeError

if TYPE_CHECKING:
    from vtk import vtkPolyData

FloatArray = NDArray[np.float64]
SMALLEST_BOX_MM = 0.01


def read_only(array: Any, dtype: Any = None) -> NDArray[Any]:
    """A read-only view of `array` (converted to `dtype` if given); the caller's own array stays writable."""
    view = np.asarray(array, dtype=dtype).view()
    view.flags.writeable = False
    return view


def _freeze(instance: Any, name: str, value: Any) -> None:
    object.__setattr__(instance, name, value)


@dataclass(frozen=True, eq=False)
class Sweep:
    """A tracked ultrasound recording.

    images: (N, H, W) uint8, rows far from the probe last and columns from the marked side on (orientation MF); N may have H = W = 0.
    transforms: name such as "ProbeToTracker" -> (N, 4, 4) float64, mm. A frame that lacks one holds NaN and has status False.
    statuses: the same names -> (N,) bool, True where the tracker said OK.
    timestamps: (N,) float64 s, NaN where a frame has none.
    image_ok: (N,) bool, False where the image itself was marked invalid.
    frame_fields: every other per-frame field, kept as text: name -> N strings (None where a frame lacks it).
    header: sequence-level fields kept as text.
    source: where it came from, for messages and provenance.
    warnings: what had to be assumed or converted while reading, one sentence each.
    """

    images: NDArray[np.uint8]
    transforms: Mapping[str, FloatArray]
    statuses: Mapping[str, NDArray[np.bool_]]
    timestamps: FloatArray
    image_ok: NDArray[np.bool_]
    frame_fields: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    header: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.images.ndim != 3 or self.images.dtype != np.uint8:
            raise SweepError(f"{self.source or 'sweep'}: images must be (frames, rows, columns) uint8, not {self.images.shape} {self.images.dtype}.")
        count = len(self.images)
        if set(self.transforms) != set(self.statuses):
            raise SweepError(f"{self.source or 'sweep'}: every transform needs a status of the same name.")
        _freeze(self, "images", read_only(self.images))
        for name in ("timestamps", "image_ok"):
            _freeze(self, name, read_only(getattr(self, name), np.float64 if name == "timestamps" else np.bool_))
            if getattr(self, name).shape != (count,):
                raise SweepError(f"{self.source or 'sweep'}: {name} must have one value for each of the {count} frames.")
        _freeze(self, "transforms", MappingProxyType({k: read_only(v, np.float64) for k, v in self.transforms.items()}))
        _freeze(self, "statuses", MappingProxyType({k: read_only(v, np.bool_) for k, v in self.statuses.items()}))
        _freeze(self, "frame_fields", MappingProxyType(dict(self.frame_fields)))
        _freeze(self, "header", MappingProxyType(dict(self.header)))
        for name, matrices in self.transforms.items():
            if matrices.shape != (count, 4, 4) or self.statuses[name].shape != (count,):
                raise SweepError(
                    f"{self.source or 'sweep'}: transform {name} must have one 4x4 matrix and one status for each of the {count} frames."
                )

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Fan:
    """The insonified sector of a convex probe's image, in pixels of the MF image.

    origin_px: (column, row) of the apex; angles_deg: (first, last), measured from +row (down), positive towards +column;
    radii_px: (start, stop) distance from the apex.
    """

    origin_px: tuple[float, float]
    angles_deg: tuple[float, float]
    radii_px: tuple[float, float]

    def __post_init__(self) -> None:
        values = (*self.origin_px, *self.angles_deg, *self.radii_px)
        if not np.all(np.isfinite(values)) or self.angles_deg[0] >= self.angles_deg[1] or not 0 <= self.radii_px[0] < self.radii_px[1]:
            raise CalibrationError(f"The fan {values} is not a sector: angles and radii must be finite and increasing.")


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a PLUS device-set configuration says of the image's geometry.

    image_to_probe: (4, 4), pixels (column, row, 0) -> mm in the probe sensor's frame; not rigid, it holds the pixel spacing.
    clip_px: (first column, first row, columns, rows) of the part of the image that counts, or None for all of it.
    fan: sector of a convex probe, or None.
    image_frame, probe_frame, reference_frame: coordinate frame names.
    time_offset_s: add to the tracker's times to get the image's.
    static_transforms: the configuration's other transforms, "FromToTo" -> (4, 4).
    """

    image_to_probe: FloatArray
    clip_px: tuple[int, int, int, int] | None = None
    fan: Fan | None = None
    image_frame: str = "Image"
    probe_frame: str = "Probe"
    reference_frame: str = "Reference"
    time_offset_s: float = 0.0
    static_transforms: Mapping[str, FloatArray] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        matrix = read_only(self.image_to_probe, np.float64)
        where = self.source or "calibration"
        if matrix.shape != (4, 4) or not np.all(np.isfinite(matrix)):
            raise CalibrationError(f"{where}: {self.image_frame}To{self.probe_frame} must be a finite 4x4 matrix; calibrate the probe again.")
        columns = np.linalg.norm(matrix[:3, :2], axis=0)
        if (
            not np.allclose(matrix[3], (0, 0, 0, 1))
            or columns.min() <= 0
            or np.linalg.norm(np.cross(matrix[:3, 0], matrix[:3, 1])) < 1e-3 * columns.prod()
        ):
            raise CalibrationError(
                f"{where}: {self.image_frame}To{self.probe_frame} is singular: its image axes span no plane; calibrate the probe again."
            )
        if self.clip_px is not None and (min(self.clip_px[:2]) < 0 or min(self.clip_px[2:]) <= 0):
            raise CalibrationError(
                f"{where}: the clip rectangle {self.clip_px} is empty or starts outside the image; correct ClipRectangleOrigin/Size."
            )
        _freeze(self, "image_to_probe", matrix)
        _freeze(self, "static_transforms", MappingProxyType({k: read_only(v, np.float64) for k, v in self.static_transforms.items()}))


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular voxel grid. shape: (K, J, I); ijk_to_ras: (4, 4), voxel centre (i, j, k, 1) -> RAS mm in `frame`, orthogonal axes."""

    shape: tuple[int, int, int]
    ijk_to_ras: FloatArray
    frame: str = "Reference"

    def __post_init__(self) -> None:
        matrix = read_only(self.ijk_to_ras, np.float64)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GridError(f"A grid of {self.shape} voxels has no content; give at least one voxel on every axis.")
        if matrix.shape != (4, 4) or not np.all(np.isfinite(matrix)) or not np.allclose(matrix[3], (0, 0, 0, 1)):
            raise GridError("The grid's IJK-to-RAS matrix must be a finite affine 4x4 matrix.")
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        if spacing.min() <= 0:
            raise GridError(f"The grid's spacing {spacing} mm must be positive on every axis.")
        axes = matrix[:3, :3] / spacing
        if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3):
            raise GridError("The grid's axes must be at right angles; resample the volume without shear.")
        _freeze(self, "shape", tuple(int(n) for n in self.shape))
        _freeze(self, "ijk_to_ras", matrix)

    @property
    def spacing_mm(self) -> FloatArray:
        """(3,) voxel size along i, j, k, mm."""
        return np.asarray(np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0))

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel, mL."""
        return float(np.prod(self.spacing_mm) / 1000.0)


@dataclass(frozen=True, eq=False)
class Volume:
    """array: (K, J, I) grey levels; weight: (K, J, I) accumulated weight, 0 where the sweep never was, so that unseen stays unseen."""

    array: NDArray[Any]
    grid: Grid
    weight: NDArray[Any]
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("array", "weight"):
            if getattr(self, name).shape != self.grid.shape:
                raise VolumeError(f"{self.source or 'volume'}: {name} is {getattr(self, name).shape} but its grid is {self.grid.shape} (K, J, I).")
            _freeze(self, name, read_only(getattr(self, name)))

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(K, J, I) True where the sweep was."""
        return np.asarray(self.weight > 0)


@dataclass(frozen=True, eq=False)
class Box:
    """An oriented box. centre: (3,) RAS mm; axes: (3, 3), columns are the unit vectors of its sides; size: (3,) full side lengths, mm."""

    centre: FloatArray
    axes: FloatArray
    size: FloatArray
    frame: str = "Reference"

    def __post_init__(self) -> None:
        for name, shape in (("centre", (3,)), ("axes", (3, 3)), ("size", (3,))):
            value = read_only(getattr(self, name), np.float64)
            if value.shape != shape or not np.all(np.isfinite(value)):
                raise BoxError(f"The box's {name} must be {shape} finite numbers; draw the box again.")
            _freeze(self, name, value)
        if self.size.min() < SMALLEST_BOX_MM:
            raise BoxError(f"The box is {' x '.join(f'{s:g}' for s in self.size)} mm, so it holds nothing; draw it around the lesion.")
        if not np.allclose(self.axes.T @ self.axes, np.eye(3), atol=1e-3):
            raise BoxError("The box's axes must be unit vectors at right angles; draw the box again.")


@dataclass(frozen=True, eq=False)
class Crop:
    """A volume resampled on a box's axes. volume: float32 on the crop's grid; box: what was asked for, without the margin.

    fill: the grey level given to voxels that were not seen or lie outside the volume (weight 0).
    """

    volume: Volume
    box: Box
    margin_mm: float
    fill: float
    seen_in_box: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Probability:
    """array: (K, J, I) float32 in [0, 1] on `grid`; which model gave it, by which path, on which device, in which time."""

    array: NDArray[np.float32]
    grid: Grid
    model_id: str
    inference_path: str
    device: str
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise VolumeError(f"The probability is {self.array.shape} but its grid is {self.grid.shape} (K, J, I).")
        _freeze(self, "array", read_only(self.array, np.float32))
        _freeze(self, "seconds", MappingProxyType(dict(self.seconds)))


@dataclass(frozen=True)
class Threshold:
    """A probability threshold and where it comes from; it belongs to one model (and one inference path) and to no other.

    least_share: of the volume of the ellipsoid inscribed in the box. A box is drawn about a lesion: a mask that fills less than this is nothing
    found. At 0 every mask counts.
    """

    value: float
    model_id: str
    inference_path: str
    tuned: str = ""
    cases: tuple[str, ...] = ()
    least_share: float = 0.0


@dataclass(frozen=True, eq=False)
class Mask:
    """array: (K, J, I) bool on `grid`. provenance: method, model id or parameters, threshold, sweep, box, times (JSON values only)."""

    array: NDArray[np.bool_]
    grid: Grid
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise VolumeError(f"The mask is {self.array.shape} but its grid is {self.grid.shape} (K, J, I).")
        _freeze(self, "array", read_only(self.array, np.bool_))
        _freeze(self, "provenance", MappingProxyType(dict(self.provenance)))

    @property
    def volume_ml(self) -> float:
        """Volume of the set voxels, mL."""
        return int(np.count_nonzero(self.array)) * self.grid.voxel_ml


@dataclass(frozen=True, eq=False)
class Surface:
    """A closed triangle surface, normals outward. polydata: points in RAS mm of `frame`; volume_ml: the enclosed volume."""

    polydata: vtkPolyData
    volume_ml: float
    frame: str = "Reference"
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """One thing that a quality check found. kind and severity are the words of the command-line contract; frames are inclusive, or None."""

    kind: str
    severity: str
    first_frame: int | None
    last_frame: int | None
    value: float
    limit: float
    advice: str


@dataclass(frozen=True)
class Quality:
    """What a check of a sweep says. verdict: pass, warn or refuse."""

    frames: int
    verdict: str
    findings: tuple[Finding, ...] = ()
