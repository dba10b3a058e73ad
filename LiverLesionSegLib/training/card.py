"""MODEL_CARD.md: what a model was trained on, how, and what it can and cannot do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..segmentation.model import ModelBundle
from .curve import late_mean, read_curve

_FIELDS = ("data", "recipe", "compute", "threshold", "results", "model_id", "name")
DEFAULT_CARD = """# {name}

Segments one focal liver lesion in a box, in a volume reconstructed from tracked intraoperative ultrasound. Research software, **not for clinical
use**: it is not a medical device and was not tested on patients unless the results below say so.

Model id `{model_id}`

## Data
{data}

## Recipe
{recipe}

## Compute
{compute}

## Threshold
{threshold}

## Results
{results}

## Known failures
- A lesion that hardly differs from the liver around it (iso-echoic) is missed or outlined by the box.
- What the sweep did not see is not segmented; boxes of which less than half was seen are refused.
- Two lesions in one box come out as one mask. A box without a lesion may still give one.
- Probes, presets and livers unlike those of the training data; look at every outline before relying on it.
"""

FRAMES_CARD = (
    """# {name}

Finds focal liver lesions in single frames of intraoperative ultrasound, for the live image and to propose where a lesion is. Research software, **not
for clinical use**: it is not a medical device and was not tested on patients unless the results below say so.
"""
    + DEFAULT_CARD[DEFAULT_CARD.index("\nModel id") : DEFAULT_CARD.index("- What the sweep")]
    + """- A frame is looked at alone: vessels cut across look like small lesions.
- No proposal does not mean no lesion.
- Neighbouring lesions may come out as one.
- Probes, depths, presets and livers unlike those of the training data; look at every outline before relying on it.
"""
).replace(" or outlined by the box", "")
"""The card of a model of single frames."""


def model_card(model: ModelBundle, results: Path, *, template: str = "", table: str = "") -> str:
    """The card of `model` from the records in its results folder; {data}, {recipe}, {compute}, {threshold}, {results}, {model_id} and {name} in
    `template` (without one: that of crops or of frames) are filled in. table: results as Markdown."""
    template = template or (FRAMES_CARD if model.single_frames else DEFAULT_CARD)
    values = {
        "name": str(model.dataset.get("name", "Lesion model")),
        "model_id": model.model_id,
        "data": _data(model),
        "recipe": _recipe(model),
        "compute": _compute(results),
        "threshold": _threshold(model),
        "results": table.strip() or "None measured beyond the validation cases above.",
    }
    for field in _FIELDS:
        template = template.replace("{" + field + "}", values[field])
    return template


def shipped_dataset(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """dataset.json without the list of cases and where they lay, which are nobody's business but the trainer's."""
    section = dataset.get("liverlesionseg", {})
    kept = {key: value for key, value in section.items() if key not in ("images", "cases_file")} if isinstance(section, dict) else {}
    return {**dataset, "liverlesionseg": kept} if kept else dict(dataset)


def _section(model: ModelBundle) -> dict[str, Any]:
    section = model.dataset.get("liverlesionseg", {})
    return dict(section) if isinstance(section, dict) else {}


def _data(model: ModelBundle) -> str:
    section = _section(model)
    images = section.get("images", [])
    lines = []
    for split in ("train", "validation", "test"):
        own = [image for image in images if image.get("split") == split]
        if own:
            lines.append(f"- {split}: {len({image['case'] for image in own})} cases, {len(own)} images")
    if model.single_frames:
        frames = section.get("frames", {})
        shallow, deep = frames.get("depth_mm", (0, 0))
        lines.append(
            f"- images: single frames, {model.configuration.spacing_mm[0]:g} mm pixels, {shallow:g} to {deep:g} mm deep, outside of the fan 0"
        )
        return "\n".join(lines)
    crop = model.crop_settings
    lines.append(f"- images: {section.get('mode', 'crop')}, margin {crop.margin_mm:g} mm, {crop.spacing_mm:g} mm voxels, unseen voxels {crop.fill:g}")
    return "\n".join(lines)


def _threshold(model: ModelBundle) -> str:
    threshold, details = model.threshold, model.threshold_details
    if threshold is None:
        return "Not tuned; give one with `--threshold`."
    text = (
        f"{threshold.value:.4f} ({threshold.tuned}), inference path `{threshold.inference_path}`. On these cases F1 {details.get('f1', 0):.3f}, "
        f"precision {details.get('precision', 0):.3f}, recall {details.get('recall', 0):.3f}, area under precision-recall "
        f"{details.get('area_precision_recall', 0):.3f}, ROC {details.get('area_roc', 0):.3f}."
    )
    if threshold.least_share > 0:
        text += (
            f" A mask that fills less than {threshold.least_share:.3f} of the ellipsoid inscribed in its box is nothing found: so it was in "
            f"{details.get('boxes_without_lesion_and_nothing_found')} of {details.get('boxes_without_lesion')} boxes without a lesion, and in "
            f"{details.get('boxes_with_lesion_and_nothing_found')} of {details.get('boxes_with_lesion')} with one."
        )
    return text


def _recipe(model: ModelBundle) -> str:
    kwargs = model.configuration.values["architecture"]["arch_kwargs"]
    network = str(model.configuration.values["architecture"]["network_class_name"]).rsplit(".", 1)[-1]
    patch = " x ".join(map(str, model.configuration.patch_size)) + (" pixels" if model.single_frames else " voxels")
    return (
        f"nnU-Net, plans `{model.plans.get('plans_name')}`, trainer `{model.weights.trainer or 'unnamed'}`. {network}, features "
        f"{json.dumps(kwargs.get('features_per_stage'))}, tile {patch}, batch {model.configuration.values.get('batch_size')}."
    )


def _compute(results: Path) -> str:
    curve = read_curve(results)
    if not curve.get("epoch"):
        return "Not recorded."
    return (
        f"{curve['iterations'][-1]:.0f} iterations in {sum(curve['seconds']) / 3600:.2f} h. Means of the last epochs: loss "
        f"{late_mean(curve, 'training_loss'):.3f} (training), {late_mean(curve, 'validation_loss'):.3f} (validation); Dice of validation tiles "
        f"{late_mean(curve, 'validation_dice'):.3f}."
    )
