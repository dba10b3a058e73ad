"""Image volumes, weights, probabilities and masks as NRRD, MetaImage or NIfTI: LPS in the file, RAS inside.

SimpleITK reads and writes them. What a header declares is checked against the file's size before anything is allocated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError, VolumeError
from ..geometry import grid_from_lps, grid_to_lps, same_grid
from ..types import Grid, Mask, Probability, Volume
from ._stored import check_stored
from .atomic import whole_file
from .memory import available_bytes

VOLUME_ENDINGS = (".nrrd", ".mha", ".nii.gz")
FRAME_KEY = "liverlesionseg_frame"
PROVENANCE_KEY = "liverlesionseg_provenance"
# Reading, finding what was seen and checking take a volume's own bytes and about this much for each voxel besides.
WORKING_BYTES = 14
# Deflate cannot shrink data by more than about 1032:1, so a file that declares more than that holds less than it says.
MAXIMUM_COMPRESSION = 1100


def seen_from_image(array: NDArray[Any]) -> NDArray[np.float32]:
    """(K, J, I) weight, 0 or 1, for an image without one: zero voxels connected (by faces) to its border were never seen.

    Zeros inside, such as a vessel or a shadow, count as seen. Non-finite voxels are never seen.
    """
    from scipy import ndimage

    finite = np.isfinite(array)
    labels, count = ndimage.label((array == 0) | ~finite)
    outer = np.zeros(count + 1, dtype=bool)
    for axis in range(array.ndim):
        for end in (0, -1):
            outer[np.unique(labels.take(end, axis=axis))] = True
    outer[0] = False
    return np.asarray(finite & ~outer[labels], dtype=np.float32)


def _reader(path: Path) -> Any:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    return reader


def _read(path: Path) -> tuple[NDArray[Any], Grid, dict[str, str]]:
    path = Path(path)
    if not path.is_file():
        raise VolumeError(f"{path}: there is no such file; check the name.")
    if not os.access(path, os.R_OK):
        raise VolumeError(f"{path}: no permission to read it; ask for it, or copy the file to where you may.")
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
        dimensions, size = reader.GetDimension(), reader.GetSize()
    except RuntimeError as error:
        raise VolumeError(f"{path}: not a readable volume (NRRD, MetaImage or NIfTI); save it again from Slicer.") from error
    if dimensions != 3 or reader.GetNumberOfComponents() != 1 or min(size) < 1:
        components = reader.GetNumberOfComponents()
        raise VolumeError(f"{path}: holds {dimensions}-dimensional data of {components} channel(s); give a three-dimensional grey-level volume.")
    voxels = int(np.prod([int(n) for n in size], dtype=object))
    declared = voxels * _voxel_bytes(reader.GetPixelID())
    shown = " x ".join(map(str, size))
    if declared > _file_bytes(path) * MAXIMUM_COMPRESSION:
        raise VolumeError(f"{path}: its header declares {shown} voxels, more than the file can hold; save it again.")
    if declared + voxels * WORKING_BYTES > available_bytes():
        raise VolumeError(f"{path}: {shown} voxels do not fit into the memory at hand; crop the volume, or reconstruct it more coarsely.")
    check_stored(path, declared)
    try:
        image = reader.Execute()
    except (RuntimeError, MemoryError) as error:
        raise VolumeError(f"{path}: its voxels cannot be read, the file is damaged or cut short; copy it again.") from error
    import SimpleITK as sitk

    array = sitk.GetArrayFromImage(image)
    if array.dtype.kind not in "uif":
        raise VolumeError(f"{path}: its voxels are {array.dtype}; give a volume of real numbers.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise VolumeError(
            f"{path}: {int(np.count_nonzero(~np.isfinite(array)))} voxels are not finite (NaN or infinite); save the volume without them."
        )
    metadata = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    return array, _grid(image, array.shape, metadata.get(FRAME_KEY, "Reference")), metadata


def _voxel_bytes(pixel_id: int) -> int:
    import SimpleITK as sitk

    kinds = {sitk.sitkUInt8: 1, sitk.sitkInt8: 1, sitk.sitkUInt16: 2, sitk.sitkInt16: 2, sitk.sitkUInt32: 4, sitk.sitkInt32: 4, sitk.sitkFloat32: 4}
    return kinds.get(pixel_id, 8)


def _file_bytes(path: Path) -> int:
    """Size of the file and of the companions that a detached header may name."""
    if path.suffix.lower() in (".mhd", ".nhdr"):
        return sum(p.stat().st_size for p in path.parent.iterdir() if p.is_file())
    return path.stat().st_size


def _grid(image: Any, shape: tuple[int, ...], frame: str) -> Grid:
    return grid_from_lps((shape[0], shape[1], shape[2]), image.GetDirection(), image.GetSpacing(), image.GetOrigin(), frame)


def write_array(path: Path, array: NDArray[Any], grid: Grid, metadata: Mapping[str, str]) -> None:
    """Write `array` (K, J, I) on `grid`, compressed, with text fields; the format goes by the ending of `path`. Raises OutputError."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    image = sitk.GetImageFromArray(array)
    direction, spacing_mm, origin = grid_to_lps(grid)
    image.SetSpacing(spacing_mm.tolist())
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin(origin.tolist())
    for key, value in {FRAME_KEY: grid.frame, **metadata}.items():
        image.SetMetaData(key, value)
    with whole_file(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=True, compressionLevel=2)
        except RuntimeError as error:
            known = str(path).lower().endswith((".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".nii.gz"))
            todo = "free some space or choose another folder" if known else "end its name in .nrrd"
            raise OutputError(f"{path}: could not be written; {todo}.") from error


def read_array(path: Path) -> tuple[NDArray[Any], Grid]:
    """The voxels (K, J, I) of any one-channel image volume, in the file's own order and type, and their grid. Raises VolumeError."""
    array, grid, _ = _read(Path(path))
    return array, grid


def read_volume(path: Path, weights: Path | None = None) -> Volume:
    """The volume at `path`, grey levels (K, J, I) on its grid in RAS mm, with the weights at `weights`.

    Without weights, zero voxels connected to the border count as unseen (weight 0) and all others as seen (weight 1).
    Raises VolumeError when a file is unreadable, lies about its size, holds NaN, or the weights lie on another grid.
    """
    if weights is not None and Path(weights).resolve() == Path(path).resolve():
        raise VolumeError(f"{weights}: is the volume itself, not its weights; give the file that --weights of the reconstruction wrote.")
    array, grid, _ = _read(path)
    if weights is None:
        weight = seen_from_image(array)
    else:
        weight, weight_grid, _ = _read(weights)
        if weight.min() < 0:
            raise VolumeError(f"{weights}: holds negative values, so it is no weights; give the file that --weights of the reconstruction wrote.")
        if not same_grid(grid, weight_grid):
            raise VolumeError(f"{weights}: these weights lie on another grid than {path}; give those of the same reconstruction.")
    return Volume(array, grid, weight, source=str(path))


def write_volume(path: Path, volume: Volume) -> None:
    """Write the volume's grey levels; `write_weights` writes its weights."""
    write_array(path, volume.array, volume.grid, {})


def write_weights(path: Path, volume: Volume) -> None:
    """Write the volume's accumulated weights, float32, on the same grid."""
    write_array(path, volume.weight.astype(np.float32, copy=False), volume.grid, {})


def write_probability(path: Path, probability: Probability) -> None:
    """Write a probability, float32 in [0, 1], with the model and the inference path that gave it."""
    provenance = {"model_id": probability.model_id, "inference_path": probability.inference_path, "device": probability.device}
    write_array(path, probability.array, probability.grid, {PROVENANCE_KEY: json.dumps(provenance)})


def write_label_volume(path: Path, mask: Mask) -> None:
    """Write a mask as an ordinary label map: uint8, 0 and 1."""
    write_array(path, mask.array.astype(np.uint8), mask.grid, {PROVENANCE_KEY: json.dumps(dict(mask.provenance))})


def read_mask(path: Path) -> Mask:
    """The non-zero voxels of a label map or of a `.seg.nrrd` with one segment. Raises VolumeError, for several labels too.

    A label other than 1 is kept as provenance["label"], for those to whom it matters.
    """
    array, grid, metadata = _read(path)
    labels = np.unique(array)
    labels = labels[labels != 0]
    if len(labels) > 1:
        raise VolumeError(f"{path}: holds {len(labels)} labels; give a mask of one lesion (0 and one other value).")
    try:
        provenance = json.loads(metadata.get(PROVENANCE_KEY, "{}"))
    except ValueError:
        provenance = {}
    provenance = provenance if isinstance(provenance, dict) else {}
    if len(labels) and labels[0] != 1:
        provenance["label"] = float(labels[0])
    return Mask(array != 0, grid, provenance)
