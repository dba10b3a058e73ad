"""The content of an IMAGE message."""

from __future__ import annotations

import math
import struct
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import lps_to_ras
from ..types import FloatArray
from ._wire_header import ContentError

_CONTENT = struct.Struct(">HBBBB3H12f3H3H")
_SCALARS: dict[int, str] = {2: "i1", 3: "u1", 4: "i2", 5: "u2", 6: "i4", 7: "u4", 10: "f4", 11: "f8"}
_BIG, _LITTLE = 1, 2
_RAS, _LPS = 1, 2


def _to_centre(matrix: FloatArray, size: tuple[int, ...], sign: float) -> FloatArray:
    """`matrix` with its position moved by half the image: the wire has the centre's position, of (size - 1) / 2, as igtlioImageConverter has it."""
    result = matrix.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        result[:3, 3] += sign * (matrix[:3, :3] @ ((np.array(size) - 1) / 2))
    return result


def unpack_image(content: memoryview) -> tuple[NDArray[Any], FloatArray]:
    """(array (K, J, I[, C]), matrix (4, 4) voxel index (i, j, k, 1) -> mm RAS).

    The array is read-only, and a view of `content` where the byte order is this machine's. Raises ContentError for anything but a whole image whose
    size is that of its content.
    """
    if len(content) < _CONTENT.size:
        raise ContentError("image header", f"{len(content)} bytes are too few for an image.")
    version, components, scalar, endian, coordinates, *rest = _CONTENT.unpack_from(content)
    size, numbers, offset, part = tuple(rest[:3]), rest[3:15], tuple(rest[15:18]), tuple(rest[18:21])
    if version != 1 or scalar not in _SCALARS or endian not in (_BIG, _LITTLE) or coordinates not in (_RAS, _LPS) or components < 1:
        raise ContentError(
            "image header",
            f"version {version}, {components} components, scalar type {scalar}, byte order {endian} or coordinates {coordinates} is not known.",
        )
    if min(size) < 1:
        raise ContentError("image size", f"{size} pixels are no image.")
    if offset != (0, 0, 0) or part != size:
        raise ContentError("sub-volume", f"{part} pixels at {offset} of {size} were sent; only whole images are taken.")
    dtype = np.dtype(_SCALARS[scalar]).newbyteorder(">" if endian == _BIG else "<")
    expected = math.prod(size) * components * dtype.itemsize
    if len(content) - _CONTENT.size != expected:
        raise ContentError("image size", f"{size} pixels need {expected} bytes, {len(content) - _CONTENT.size} came.")
    array = np.frombuffer(content, dtype=dtype, offset=_CONTENT.size)
    array = array.astype(dtype.newbyteorder("="), copy=False).reshape(size[::-1] if components == 1 else (*size[::-1], components))
    array.flags.writeable = False
    vectors = np.array(numbers, dtype=np.float64).reshape(4, 3)
    matrix = np.eye(4)
    matrix[:3] = (lps_to_ras(vectors) if coordinates == _LPS else vectors).T
    return array, _to_centre(matrix, size, -1.0)


def pack_image(array: NDArray[Any], matrix: FloatArray) -> bytes:
    """The content for an array (K, J, I) or (K, J, I, C), in RAS and in this machine's byte order. Raises ContentError for what IMAGE cannot hold."""
    code = next((code for code, name in _SCALARS.items() if np.dtype(name) == array.dtype.newbyteorder("=")), None)
    components = array.shape[3] if array.ndim == 4 else 1
    if code is None or array.ndim not in (3, 4) or not 1 <= components <= 255 or not all(1 <= n <= 0xFFFF for n in array.shape[:3]):
        raise ContentError("image size", f"an array of {array.shape} {array.dtype} does not fit an IMAGE message.")
    size = array.shape[2::-1]
    numbers = _to_centre(np.asarray(matrix, dtype=np.float64), size, 1.0)[:3].T.ravel()
    order = _LITTLE if sys.byteorder == "little" else _BIG
    data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    head = _CONTENT.pack(1, components, code, order, _RAS, *size, *np.zeros(12), 0, 0, 0, *size)
    # struct refuses numbers beyond float32, which are sent as infinite
    with np.errstate(over="ignore"):
        floats = numbers.astype(">f4").tobytes()
    return b"".join((head[:12], floats, head[60:], data.reshape(-1).view(np.uint8).data))
