"""Lesion models on disk: load, verify and write bundles, and read nnU-Net's own results folders.

A bundle is a folder of `plans.json`, `dataset.json`, `weights.safetensors`, `threshold.json` and `MODEL_CARD.md`. A results folder is what
nnU-Net's training leaves: `plans.json`, `dataset.json` and `fold_*/checkpoint_final.pth` or `checkpoint_best.pth`.

The model id is the SHA-256 of weights and plans, of their content rather than of their files, so that a results folder and the bundle
made from it share it. `threshold.json` repeats the id, and the SHA-256 of each file beside it and of itself, so that an altered byte shows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import BoxError, InputError, ModelError
from ..files.atomic import whole_file, whole_folder
from ..types import Threshold
from ._nnunet_plans import Configuration, canonical_json, check_configuration, check_dataset, read_json, takes_box
from ._nnunet_weights import Weights, model_id, read_checkpoint, read_safetensors, write_safetensors
from .crop import CropSettings

WEIGHTS, THRESHOLD, CARD = "weights.safetensors", "threshold.json", "MODEL_CARD.md"
_DIGESTED = ("plans.json", "dataset.json", WEIGHTS)
_CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")


@dataclass(frozen=True)
class InferenceSettings:
    """step: distance between tiles as a fraction of the tile (nnU-Net's default 0.5). mirroring: average over mirrored inputs (8 passes in 3D)."""

    step: float = 0.5
    mirroring: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.step <= 1:
            raise InputError(f"A tile step of {self.step:g} is not usable; give a fraction above 0 and at most 1, such as 0.5.")


@dataclass(frozen=True, eq=False)
class ModelBundle:
    """A model that was read and verified.

    plans, dataset: nnU-Net's plans.json and dataset.json. configuration: the one that was trained. weights: numpy arrays by name.
    crop_settings: how crops for this model are made. crop_declared: those that dataset.json names (`liverlesionseg.crop`); the rest are defaults.
    threshold: None when none was tuned. agreeing_paths: other inference paths for which the threshold holds too (measured within 1e-3).
    threshold_details: what else was recorded when it was tuned (curve, areas, ...), JSON values.
    warnings: what had to be chosen while loading, one sentence each.
    """

    folder: Path
    model_id: str
    plans: Mapping[str, Any]
    dataset: Mapping[str, Any]
    configuration: Configuration
    weights: Weights
    crop_settings: CropSettings
    crop_declared: frozenset[str] = frozenset()
    threshold: Threshold | None = None
    agreeing_paths: tuple[str, ...] = ()
    threshold_details: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def whole_volume(self) -> bool:
        """Whether it was trained on whole volumes (`liverlesionseg.mode` in dataset.json is "full") rather than on crops about a box."""
        section = self.dataset.get("liverlesionseg", {})
        return isinstance(section, dict) and section.get("mode") == "full"

    @property
    def single_frames(self) -> bool:
        """Whether its network sees single frames (2D) rather than volumes."""
        return len(self.configuration.patch_size) == 2

    @property
    def takes_box(self) -> bool:
        """Whether it is shown where the box is, as a second channel."""
        return takes_box(self.dataset)

    @property
    def channels(self) -> int:
        """Input channels of the network: the ultrasound, and the box where the model is shown it."""
        return 2 if self.takes_box else 1

    def inference_path(self, settings: InferenceSettings | None = None, backend: str = "torch") -> str:
        """The name of a way to run this model, such as `tile64-step0.5-nomirror-torch`: tile size, step, mirrored axes, backend."""
        settings = settings or InferenceSettings()
        patch = self.configuration.patch_size
        tile = str(patch[0]) if len(set(patch)) == 1 else "x".join(map(str, patch))
        mirror = "mirror" + "".join(map(str, self.weights.mirroring_axes)) if settings.mirroring else "nomirror"
        return f"tile{tile}-step{settings.step:g}-{mirror}-{backend}"

    def threshold_for(self, inference_path: str) -> Threshold:
        """The tuned threshold, for the path it was tuned with or one that was measured to agree. Raises ModelError otherwise."""
        if self.threshold is None:
            raise ModelError(f"{self.folder}: has no tuned threshold; tune one on validation cases, or give a threshold (--threshold).")
        if inference_path in self.agreeing_paths:
            return replace(self.threshold, inference_path=inference_path)
        if inference_path != self.threshold.inference_path:
            raise ModelError(
                f"{self.folder}: its threshold was tuned with inference path {self.threshold.inference_path!r}, not {inference_path!r}; "
                "run the model as it was tuned, or tune a threshold for this path."
            )
        return self.threshold


def load_model(folder: Path | str, *, fold: str | None = None) -> ModelBundle:
    """The model in a bundle or in an nnU-Net results folder, verified; nothing stored in it is executed.

    fold: of a results folder, "0".."9" or "all"; without it fold_all, else the first, and `warnings` says which of several it was.
    One fold is used: an ensemble would multiply the waiting time at the operating table.

    Raises ModelError when the folder is incomplete, damaged, altered, of another label set, or would execute code.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder; give a bundle or an nnU-Net results folder.")
    missing = [name for name in ("plans.json", "dataset.json") if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"{folder}: incomplete, {' and '.join(missing)} missing; give a whole bundle or nnU-Net results folder.")
    plans, dataset = read_json(folder / "plans.json"), read_json(folder / "dataset.json")
    check_dataset(dataset, str(folder))
    warnings: tuple[str, ...] = ()
    if (folder / WEIGHTS).is_file():
        if not (folder / THRESHOLD).is_file():
            raise ModelError(f"{folder}: incomplete, {THRESHOLD} missing, so the weights cannot be verified; copy the whole bundle.")
        weights = read_safetensors(folder / WEIGHTS)
    else:
        checkpoint, warnings = _find_checkpoint(folder, fold)
        weights = read_checkpoint(checkpoint)
    configuration = check_configuration(plans, weights.configuration, str(folder))
    identity = model_id(weights, canonical_json(plans))
    crop, declared = _crop_settings(dataset, configuration, folder)
    threshold, paths, details = _read_threshold(folder, identity) if (folder / THRESHOLD).is_file() else (None, (), {})
    return ModelBundle(
        folder,
        identity,
        MappingProxyType(plans),
        MappingProxyType(dataset),
        configuration,
        weights,
        crop,
        declared,
        threshold,
        paths,
        details,
        warnings,
    )


def write_bundle(
    folder: Path | str,
    model: ModelBundle,
    threshold: Threshold | None = None,
    *,
    card_text: str = "",
    details: Mapping[str, Any] | None = None,
    largest_bytes: int | None = None,
) -> ModelBundle:
    """Writes `model` as a bundle; the folder appears whole or not at all, and what was written is read back and verified first.

    threshold: of this very model; the model's own without it. details: JSON values kept in threshold.json beside it (curve, areas, ...).
    largest_bytes: refuse a larger bundle.
    Raises OutputError when the folder has content already or cannot be written, ModelError when the threshold is another model's or it is too large.
    """
    folder = Path(folder)
    with whole_folder(folder) as part:
        (part / "plans.json").write_text(json.dumps(dict(model.plans), indent=2) + "\n", encoding="utf-8")
        (part / "dataset.json").write_text(json.dumps(dict(model.dataset), indent=2) + "\n", encoding="utf-8")
        write_safetensors(part / WEIGHTS, model.weights)
        (part / CARD).write_text(card_text or _plain_card(model), encoding="utf-8")
        paths, notes = ((), {}) if threshold else (model.agreeing_paths, model.threshold_details)
        write_threshold(part, model.model_id, threshold or model.threshold, agreeing_paths=paths, details=details or notes)
        size = sum(path.stat().st_size for path in part.iterdir())
        if largest_bytes is not None and size > largest_bytes:
            raise ModelError(f"{folder}: would have {size / 1e6:.1f} MB, more than {largest_bytes / 1e6:.0f}; train a plan with a smaller network.")
        written = load_model(part)
    return replace(written, folder=folder)


def write_threshold(
    folder: Path, identity: str, threshold: Threshold | None, *, agreeing_paths: tuple[str, ...] = (), details: Mapping[str, Any] | None = None
) -> None:
    """Writes `threshold.json` into a bundle or results folder of model `identity`; None records that no threshold was tuned yet.

    Raises ModelError when the threshold is another model's or not in (0, 1], OutputError when it cannot be written.
    """
    if threshold is not None and threshold.model_id != identity:
        raise ModelError(f"{folder}: the threshold belongs to model {threshold.model_id[:12]}, not to {identity[:12]}; tune it on this model.")
    if threshold is not None and not 0 < threshold.value <= 1:
        raise ModelError(f"{folder}: a threshold of {threshold.value:g} is not usable; it must lie above 0 and at most at 1.")
    if threshold is not None and not 0 <= threshold.least_share < 1:
        raise ModelError(f"{folder}: a least share of {threshold.least_share:g} is not usable; it must lie between 0 and 1.")
    record: dict[str, Any] = {
        "model_id": identity,
        "value": None if threshold is None else float(threshold.value),
        "inference_path": None if threshold is None else threshold.inference_path,
        "agreeing_paths": list(agreeing_paths),
        "tuned": "" if threshold is None else threshold.tuned,
        "cases": [] if threshold is None else list(threshold.cases),
        "least_share": 0.0 if threshold is None else float(threshold.least_share),
        "details": dict(details or {}),
        "sha256": {name: _file_digest(folder / name) for name in _DIGESTED if (folder / name).is_file()},
    }
    record["record_sha256"] = hashlib.sha256(canonical_json(record)).hexdigest()
    with whole_file(folder / THRESHOLD) as path:
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _read_threshold(folder: Path, identity: str) -> tuple[Threshold | None, tuple[str, ...], Mapping[str, Any]]:
    path = folder / THRESHOLD
    record = read_json(path)
    if record.get("model_id") != identity:
        raise ModelError(
            f"{folder}: its weights and plans (id {identity[:12]}) are not those that {THRESHOLD} was made for "
            f"({str(record.get('model_id'))[:12]!r}); copy the model folder again."
        )
    own = record.pop("record_sha256", None)
    if own != hashlib.sha256(canonical_json(record)).hexdigest():
        raise ModelError(f"{path}: was altered since it was written; copy the model folder again, or tune the threshold again.")
    digests = record.get("sha256")
    for name, digest in (digests if isinstance(digests, dict) else {}).items():
        if name in _DIGESTED and _file_digest(folder / name) != digest:
            raise ModelError(f"{folder / name}: was altered since the threshold was tuned; copy the model folder again.")
    try:
        paths, details = tuple(str(item) for item in record["agreeing_paths"]), dict(record["details"])
        if record["value"] is None:
            return None, paths, details
        value = float(record["value"])
        cases, share = tuple(str(case) for case in record["cases"]), float(record.get("least_share", 0.0))
        threshold = Threshold(value, identity, str(record["inference_path"]), str(record["tuned"]), cases, share)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: is incomplete ({error}); tune the threshold again.") from error
    if not (0 < value <= 1 and 0 <= share < 1):
        raise ModelError(f"{path}: threshold {value:g} and least share {share:g} must lie between 0 and 1; tune the threshold again.")
    return threshold, paths, details


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); copy the whole model folder.") from error
    return digest.hexdigest()


def _find_checkpoint(folder: Path, fold: str | None) -> tuple[Path, tuple[str, ...]]:
    found = {p.parent.name.removeprefix("fold_"): p for name in reversed(_CHECKPOINTS) for p in folder.glob(f"fold_*/{name}") if p.is_file()}
    if not found:
        raise ModelError(
            f"{folder}: incomplete, neither {WEIGHTS} nor fold_*/{' or fold_*/'.join(_CHECKPOINTS)} there; give the folder above the folds."
        )
    chosen = fold if fold is not None else "all" if "all" in found else sorted(found)[0]
    if chosen not in found:
        raise ModelError(f"{folder}: has no trained fold {chosen!r}; it has {', '.join(sorted(found))}.")
    warnings = []
    if len(found) > 1 and fold is None:
        warnings.append(f"{folder} has the folds {', '.join(sorted(found))}; fold {chosen} alone is used.")
    if found[chosen].name != _CHECKPOINTS[0]:
        warnings.append(f"{folder}: the training of fold {chosen} has not finished; its best checkpoint so far is used.")
    return found[chosen], tuple(warnings)


def _crop_settings(dataset: Mapping[str, Any], configuration: Configuration, folder: Path) -> tuple[CropSettings, frozenset[str]]:
    """What dataset.json declares under `liverlesionseg.crop`; the spacing is else the finest that the network works in."""
    section = dataset.get("liverlesionseg", {})
    declared = section.get("crop", {}) if isinstance(section, dict) else None
    known = {"margin_mm", "spacing_mm", "fill", "antialias"}
    if not isinstance(declared, dict) or not set(declared) <= known:
        raise ModelError(
            f"{folder}: liverlesionseg.crop in dataset.json may hold {', '.join(sorted(known))} and nothing else; export the data set again."
        )
    try:
        values: dict[str, Any] = {key: bool(value) if key == "antialias" else float(value) for key, value in declared.items()}
        settings = CropSettings(**{"spacing_mm": min(configuration.spacing_mm), **values})
    except (TypeError, ValueError, BoxError) as error:
        raise ModelError(f"{folder}: liverlesionseg.crop in dataset.json is not usable ({error}); export the data set again.") from error
    return settings, frozenset(declared)


def _plain_card(model: ModelBundle) -> str:
    patch = " x ".join(map(str, model.configuration.patch_size))
    return (
        f"# {model.dataset.get('name', 'Lesion model')}\n\nNot for clinical use.\n\n"
        f"- model id: `{model.model_id}`\n- configuration: {model.configuration.name}, trained by {model.weights.trainer or 'an unnamed trainer'}\n"
        f"- tile: {patch} voxels of {' x '.join(f'{s:g}' for s in model.configuration.spacing_mm)} mm\n"
        + ("" if model.single_frames else _crop_line(model))
    )


def _crop_line(model: ModelBundle) -> str:
    return f"- crop: box + {model.crop_settings.margin_mm:g} mm, {model.crop_settings.spacing_mm:g} mm voxels, fill {model.crop_settings.fill:g}\n"
