"""Weights on disk: nnU-Net checkpoints read without running what is pickled in them, and safetensors files without doubles.

A state is a mapping tensor name -> numpy array in which names that share storage share one array (`is`): nnU-Net's networks list every
encoder weight under several names.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, OutputError

if TYPE_CHECKING:
    import torch

State = dict[str, NDArray[Any]]

_FILE_BYTES = 4 << 30
_PICKLE_BYTES = 64 << 20
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32"}
_INERT = (
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.numeric._frombuffer",
    "numpy.core.numeric._frombuffer",
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.dtypes.Float64DType",
    "numpy.dtypes.Float32DType",
    "numpy.dtypes.Int64DType",
)
"""Harmless names in checkpoints that nnU-Net itself writes (learning curves as numpy scalars); nothing stored under them is needed."""


@dataclass(frozen=True, eq=False)
class Weights:
    """state: see above; configuration: its name in plans.json; mirroring_axes: of the patch, along which training mirrored."""

    state: State
    configuration: str
    trainer: str
    mirroring_axes: tuple[int, ...]


class _Inert:
    """Stands in the place of a numpy object while a checkpoint is read, so that none of numpy's own unpickling runs."""

    def __new__(cls, *_: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def _too_large(path: Path) -> ModelError:
    return ModelError(f"{path}: larger than {_FILE_BYTES >> 30} GiB, so it is no lesion model; check the folder.")


def _checked_axes(value: Any) -> tuple[int, ...]:
    axes = tuple(value) if isinstance(value, (list, tuple)) else ()
    return axes if set(axes) <= {0, 1, 2} else ()


def read_checkpoint(path: Path) -> Weights:
    """The weights of an nnU-Net checkpoint (.pth).

    torch's restricted unpickler reads it: it builds tensors and plain containers, and calls nothing. Raises ModelError for a file that
    holds anything else, is damaged, or larger than 4 GiB.
    """
    import torch

    try:
        if path.stat().st_size > _FILE_BYTES:
            raise _too_large(path)
        _check_archive(path)
        with torch.serialization.safe_globals([(_Inert, name) for name in _INERT]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); copy the whole results folder.") from error
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path}: holds pickled objects other than weights, which could run code; nothing was run. Use a checkpoint that nnU-Net wrote."
        ) from error
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        EOFError,
        AssertionError,
    ) as error:
        raise ModelError(f"{path}: is damaged or not an nnU-Net checkpoint ({type(error).__name__}); copy it again.") from error
    weights = content.get("network_weights") if isinstance(content, dict) else None
    arguments = content.get("init_args") if isinstance(content, dict) else None
    configuration = arguments.get("configuration") if isinstance(arguments, dict) else None
    if not isinstance(weights, dict) or not weights or not isinstance(configuration, str):
        raise ModelError(f"{path}: has no network_weights and init_args.configuration, so nnU-Net did not write it; use checkpoint_final.pth.")
    axes = _checked_axes(content.get("inference_allowed_mirroring_axes"))
    return Weights(_state_of(weights, path), configuration, str(content.get("trainer_name", "")), axes)


def _check_archive(path: Path) -> None:
    """What torch does not look at: that the archive is stored as torch stores it, within the file's size, and every checksum right."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(
            entry.compress_type != zipfile.ZIP_STORED or (entry.filename.endswith(".pkl") and entry.file_size > _PICKLE_BYTES) for entry in entries
        ):
            raise ModelError(f"{path}: is packed in a way that nnU-Net does not write; train or copy the model again.")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ModelError(f"{path}: its table of contents promises more than the file holds; copy it again.")
        if archive.testzip() is not None:
            raise ModelError(f"{path}: was altered since it was written (a checksum is wrong); copy it again.")


def _state_of(tensors: Mapping[Any, Any], path: Path) -> State:
    import torch

    seen: dict[Any, NDArray[Any]] = {}
    state: State = {}
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor) or tensor.is_sparse or tensor.is_quantized:
            raise ModelError(f"{path}: the weight {str(name)[:80]!r} is not a dense tensor; use a checkpoint that nnU-Net wrote.")
        key = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()) if tensor.numel() else name
        if key not in seen:
            seen[key] = _as_array(tensor, name, path)
        state[name] = seen[key]
    return state


def _as_array(tensor: torch.Tensor, name: str, path: Path) -> NDArray[Any]:
    if str(tensor.dtype).removeprefix("torch.") not in _DTYPES.values():
        raise ModelError(f"{path}: the weight {name[:80]!r} is {tensor.dtype}; only {', '.join(_DTYPES.values())} are read.")
    # A stride of 0 makes a large array of a small file; a copy would then take memory that the file does not have.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ModelError(f"{path}: the weight {name[:80]!r} is larger than what is stored of it; copy the file again.")
    return np.ascontiguousarray(tensor.detach().numpy()).reshape(tuple(tensor.shape))


def read_safetensors(path: Path) -> Weights:
    """The weights of a bundle. Raises ModelError for a header that lies, unknown types, or a file larger than 4 GiB."""
    import safetensors

    state: State = {}
    try:
        if path.stat().st_size > _FILE_BYTES:
            raise _too_large(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            notes = file.metadata() or {}
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                if file.get_slice(name).get_dtype() not in _DTYPES:
                    raise ModelError(
                        f"{path}: the weight {name[:80]!r} is of another type than {', '.join(_DTYPES.values())}; write the bundle again."
                    )
                state[name] = file.get_tensor(name)
        aliases = json.loads(notes.get("aliases", "{}"))
        for name, original in aliases.items():
            state[name] = state[original]
        axes = _checked_axes(json.loads(notes.get("mirroring_axes", "[]")))
        return Weights(state, notes["configuration"], notes.get("trainer", ""), axes)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error}); copy the whole model folder.") from error
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: is damaged or was not written as a model bundle ({type(error).__name__}); copy the model folder again.") from error


def write_safetensors(path: Path, weights: Weights) -> None:
    """Writes each shared array once; the other names go into the header as aliases. Raises OutputError when there is no room."""
    import safetensors
    from safetensors.numpy import save

    unique: State = {}
    names: dict[int, str] = {}
    aliases: dict[str, str] = {}
    for name in sorted(weights.state):
        array = weights.state[name]
        first = names.setdefault(id(array), name)
        if first == name:
            unique[name] = array
        else:
            aliases[name] = first
    notes = {
        "format": "pt",
        "configuration": weights.configuration,
        "trainer": weights.trainer,
        "mirroring_axes": json.dumps(list(weights.mirroring_axes)),
        "aliases": json.dumps(aliases, sort_keys=True),
    }
    try:
        path.write_bytes(save(unique, metadata=notes))  # safetensors' own save_file lets the owner alone read it
    except (OSError, safetensors.SafetensorError) as error:
        raise OutputError(f"{path.name}: could not be written ({error}); free some space or choose another folder.") from error


def model_id(weights: Weights, plans: bytes) -> str:
    """SHA-256, in hexadecimal, of plans (canonical JSON), the configuration's name, and each weight's name, type, shape and bytes, by name.

    It names content, not files: a results folder and the bundle made from it have the same id.
    """
    digests: dict[int, bytes] = {}
    total = hashlib.sha256(plans + b"\0" + weights.configuration.encode())
    for name in sorted(weights.state):
        array = weights.state[name]
        if id(array) not in digests:
            little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
            digests[id(array)] = hashlib.sha256(np.ascontiguousarray(little_endian).tobytes()).digest()
        total.update(f"\0{name}\0{array.dtype.name}\0{array.shape}\0".encode() + digests[id(array)])
    return total.hexdigest()
