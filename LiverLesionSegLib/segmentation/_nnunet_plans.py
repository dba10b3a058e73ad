"""What nnU-Net's plans.json and dataset.json must say before anything is built from them.

nnU-Net finds classes and functions by the names in its plans. Here only names on a short list pass, and numbers only within bounds,
so that a plans file cannot import something else or ask for memory without end.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .box_channel import CHANNEL

_JSON_BYTES = 16 << 20
_PREPROCESSORS = {"DefaultPreprocessor"}
_RESAMPLINGS = {
    "resample_data_or_seg_to_shape",
    "resample_torch_simple",
    "resample_torch_fornnunet",
    "no_resampling_data_or_seg_to_shape",
}
_NORMALIZATIONS = {"ZScoreNormalization", "CTNormalization", "NoNormalization", "RescaleTo01Normalization", "RGBTo01Normalization"}
_NETWORK = re.compile(r"dynamic_network_architectures\.architectures\.[a-z_]+\.[A-Z]\w*")
_LAYER = re.compile(r"torch\.nn\.(modules\.[a-z]+\.)?[A-Z]\w*")
_LARGEST_INT = 4096
_LARGEST_DEPTH = 64
_TILE_VOXELS = 1 << 24


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of at most 16 MiB. Raises ModelError when there is none."""
    try:
        if path.stat().st_size > _JSON_BYTES:
            raise ModelError(f"{path}: larger than {_JSON_BYTES >> 20} MiB, so it is no model description; copy the model folder again.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); copy the whole model folder.") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: is not valid JSON ({type(error).__name__}); copy the model folder again.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: must hold a JSON object; copy the model folder again.")
    return content


def canonical_json(value: Any) -> bytes:
    """The one spelling of a JSON value that is hashed: keys sorted, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


@dataclass(frozen=True)
class Configuration:
    """One configuration of the plans, with what it inherits filled in and checked.

    patch_size and spacing_mm are in the network's axis order (after transpose_forward), two of each where the network sees single slices (2D), else
    three; spacing_kji_mm, of a 3D one, is along array axes k, j, i.
    """

    name: str
    values: Mapping[str, Any]
    patch_size: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    transpose_forward: tuple[int, int, int]
    transpose_backward: tuple[int, int, int]

    @property
    def spacing_kji_mm(self) -> tuple[float, float, float]:
        """(3,) the network's voxel size along the array axes k, j, i, mm."""
        k, j, i = (self.spacing_mm[axis] for axis in self.transpose_backward)
        return k, j, i


def _resolved(plans: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    configurations = plans.get("configurations")
    if not isinstance(configurations, dict):
        raise ModelError(f"{where}: plans.json has no configurations; copy the model folder again.")
    chain: list[dict[str, Any]] = []
    step: Any = name
    while step is not None:
        values = configurations.get(step) if isinstance(step, str) else None
        if not isinstance(values, dict) or len(chain) > len(configurations):
            raise ModelError(
                f"{where}: plans.json has no usable configuration {step!r}, which the weights were trained with; use the plans of that training."
            )
        chain.append(values)
        step = values.get("inherits_from")
    merged: dict[str, Any] = {}
    for values in reversed(chain):
        merged.update(values)
    return merged


def _numbers_within_bounds(value: Any, limit: int) -> bool:
    if isinstance(value, Mapping):
        return all(_numbers_within_bounds(item, limit) for item in value.values())
    if isinstance(value, list):
        return len(value) <= _LARGEST_DEPTH and all(_numbers_within_bounds(item, limit) for item in value)
    return not isinstance(value, (int, float)) or abs(value) <= limit


def _check_architecture(values: Mapping[str, Any], where: str) -> None:
    architecture = values.get("architecture")
    if not isinstance(architecture, dict):
        raise ModelError(
            f"{where}: plans.json describes no network architecture (plans older than nnU-Net 2.4); plan and train with a newer nnU-Net."
        )
    name, kwargs, imports = (architecture.get(key) for key in ("network_class_name", "arch_kwargs", "_kw_requires_import"))
    if not isinstance(name, str) or not isinstance(kwargs, dict) or not isinstance(imports, list):
        raise ModelError(f"{where}: the network architecture in plans.json is incomplete; copy the model folder again.")
    if not _NETWORK.fullmatch(name):
        raise ModelError(f"{where}: plans.json asks for the network {name[:100]!r}, which is not one of nnU-Net's; it was not imported.")
    for key in imports:
        layer = kwargs.get(key) if isinstance(key, str) else ""
        if layer is not None and not (isinstance(layer, str) and _LAYER.fullmatch(layer)):
            raise ModelError(f"{where}: plans.json asks for {str(layer)[:100]!r} as {key}, which is not a layer of torch.nn; it was not imported.")
    depths = {key: value for key, value in kwargs.items() if key.startswith("n_")}
    if not _numbers_within_bounds(kwargs, _LARGEST_INT) or not _numbers_within_bounds(depths, _LARGEST_DEPTH):
        raise ModelError(
            f"{where}: the network in plans.json is larger than any nnU-Net (numbers above {_LARGEST_INT}); copy the model folder again."
        )


def check_configuration(plans: Mapping[str, Any], name: str, where: str) -> Configuration:
    """The configuration `name` of `plans`. Raises ModelError, naming `where`, when it is not a 2D or 3D network that can be built safely."""
    values = _resolved(plans, name, where)
    _check_architecture(values, where)
    try:
        patch = tuple(int(n) for n in values["patch_size"])
        spacing = tuple(float(s) for s in values["spacing"])
        forward, backward = (tuple(int(a) for a in plans[key]) for key in ("transpose_forward", "transpose_backward"))
        named = [
            (_PREPROCESSORS, [values["preprocessor_name"]]),
            (_NORMALIZATIONS, list(values["normalization_schemes"])),
            (_RESAMPLINGS, [values["resampling_fn_data"], values["resampling_fn_seg"], values["resampling_fn_probabilities"]]),
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{where}: configuration {name!r} in plans.json is incomplete ({error}); copy the model folder again.") from error
    for allowed, names in named:
        for item in names:
            if item not in allowed:
                raise ModelError(f"{where}: plans.json asks for {str(item)[:100]!r}, which is none of {', '.join(sorted(allowed))}; plan with those.")
    if len(patch) not in (2, 3) or len(spacing) != len(patch) or values.get("previous_stage"):
        raise ModelError(f"{where}: configuration {name!r} is not a single-stage 2D or 3D network; train 3d_fullres, or 2d for single frames.")
    if min(patch) < 1 or math.prod(patch) > _TILE_VOXELS:
        raise ModelError(f"{where}: a patch size of {patch} voxels is not usable; the largest has {_TILE_VOXELS} voxels.")
    if not all(0.05 <= s <= 20 for s in spacing):
        raise ModelError(f"{where}: a spacing of {spacing} mm is not usable; it must lie between 0.05 and 20 mm.")
    if sorted(forward) != [0, 1, 2] or [forward[axis] for axis in backward] != [0, 1, 2]:
        raise ModelError(f"{where}: transpose_forward and transpose_backward in plans.json do not undo each other; copy the model folder again.")
    return Configuration(
        name,
        values,
        patch,
        spacing,
        (forward[0], forward[1], forward[2]),
        (backward[0], backward[1], backward[2]),
    )


def takes_box(dataset: Mapping[str, Any]) -> bool:
    """Whether the model is shown the box beside the ultrasound."""
    channels = dataset.get("channel_names")
    return isinstance(channels, dict) and len(channels) == 2 and channels.get("1") == CHANNEL


def check_dataset(dataset: Mapping[str, Any], where: str) -> None:
    """Raises ModelError unless the data set has one channel, or the box as its second, the background 0 and one foreground label 1."""
    channels = dataset.get("channel_names", dataset.get("modality"))
    if not isinstance(channels, dict) or not (len(channels) == 1 or takes_box(dataset)):
        raise ModelError(
            f"{where}: dataset.json must name one channel (ultrasound), or a second one called {CHANNEL}; "
            f"this model takes {len(channels) if isinstance(channels, dict) else 'none'}."
        )
    labels = dataset.get("labels")
    found = {key: value for key, value in labels.items() if key != "ignore"} if isinstance(labels, dict) else {}
    if len(found) != 2 or found.get("background") != 0 or sorted(map(str, found.values())) != ["0", "1"] or not isinstance(found["background"], int):
        raise ModelError(
            f"{where}: another label set: dataset.json has {str(sorted(found))[:120]}, but a lesion model has background 0 and one label 1."
        )
