"""Figures of a comparison: learning curves together, and test images with the contours of truth and of every network."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...evaluation._drawing import PAGE_MM, QUIET_COLOR, method_styles, new_figure, plain, print_style, save
from ...evaluation.figures import TRUTH_COLOR
from .images import ExportedImage, ImageSet
from .records import NetworkRun, read_masks

OVERLAYS = 4
"""Test images shown."""
PANEL_MM = 45.0
"""Width of a panel at most."""
TITLE_LETTERS = 16
"""Longer titles of the narrow panels go on in a second line."""


def figure_learning(stem: Path, runs: Sequence[NetworkRun], titles: Mapping[str, str]) -> None:
    """Training loss and Dice of validation tiles against iterations: a colour for each network, thin lines for further splits; .png and .svg."""
    styles = method_styles(list(titles))
    with print_style():
        figure = new_figure(PAGE_MM, 75 + 4 * math.ceil(len(titles) / 4))
        loss, dice = figure.subplots(1, 2)
        for run in runs:
            style = styles[run.network]
            look = {"color": style.color, "linestyle": style.line, "linewidth": 1.5 if run.repetition == 0 else 0.6}
            label = {"label": plain(titles[run.network])} if run.repetition == 0 else {}
            loss.plot(run.curve["iterations"], run.curve["training_loss"], **look, **label)
            dice.plot(run.curve["iterations"], run.curve["validation_dice"], **look)
        loss.set(xlabel="Iterations", ylabel="Loss, as each was trained", title="Training loss")
        dice.set(xlabel="Iterations", ylabel="Dice", ylim=(-0.02, 1), title="Validation tiles, at 0.5")
        for panel in (loss, dice):
            panel.grid(True)
        figure.legend(loc="outside lower center", ncols=min(4, len(titles)), handlelength=3)
        save(figure, stem)


def figure_overlays(stem: Path, images: ImageSet, runs: Sequence[NetworkRun], titles: Mapping[str, str]) -> list[str]:
    """Some test images of the first split, a column for each network: the truth's contour, the network's, its Dice. Gives the images' names."""
    first = {run.network: run for run in runs if run.repetition == 0}
    chosen = _chosen(images, next(iter(first.values())))
    styles = method_styles(list(titles))
    read = {image.name: image.read() for image in chosen}
    masks = {name: read_masks(run, {image.name: read[image.name][1].shape for image in chosen}) for name, run in first.items()}
    scores = {(name, image.name): image.measures["dice"] for name, run in first.items() for image in run.images}
    columns = len(first)
    ratio = float(np.mean([labels.shape[1] / labels.shape[2] for _, labels, _ in read.values()])) if read else 1.0
    width = min(PAGE_MM * 1.3, PANEL_MM * columns)
    with print_style():
        figure = new_figure(width, len(chosen) * (width / columns * ratio + 5) + 12)
        panels = np.atleast_2d(figure.subplots(len(chosen), columns, squeeze=False))
        for row, image in zip(panels, chosen, strict=True):
            array, labels, _ = read[image.name]
            truth = labels == images.label
            k = int(truth.sum(axis=(1, 2)).argmax())
            shown = array[0, k]
            low, high = np.percentile(shown, [1, 99.5])
            for panel, name in zip(row, first, strict=True):
                panel.imshow(shown, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
                _contour(panel, truth[k], TRUTH_COLOR, "solid")
                # A dark line cannot be seen in an ultrasound image.
                color = styles[name].color if styles[name].color != "#000000" else "#FFFFFF"
                _contour(panel, masks[name][image.name][k], color, "solid")
                value = scores[name, image.name]
                panel.set_title(f"Dice {value:.2f}" if math.isfinite(value) else "nothing, rightly", fontsize=6, pad=2, fontweight="normal")
                panel.set(xticks=[], yticks=[])
                panel.spines[:].set_visible(False)
            row[0].set_ylabel(plain(image.name[:28]), fontsize=5, color=QUIET_COLOR)
        for panel, name in zip(panels[0] if len(chosen) else [], first, strict=False):
            title = "\n".join(textwrap.wrap(plain(titles[name]), TITLE_LETTERS))
            panel.set_title(f"{title}\n{panel.get_title(loc='left')}", fontsize=6, pad=2)
        save(figure, stem)
    return [image.name for image in chosen]


def _chosen(images: ImageSet, run: NetworkRun) -> list[ExportedImage]:
    """Of as many cases as can be: the image with the most of the lesion of each of the first cases."""
    found: dict[str, tuple[int, ExportedImage]] = {}
    for image in images.images:
        if run.split[image.case] == "test" and (image.case in found or len(found) < OVERLAYS):
            area = int(np.count_nonzero(image.read()[1] == images.label))
            if image.case not in found or area > found[image.case][0]:
                found[image.case] = (area, image)
    return [image for _, image in found.values()]


def _contour(panel: Any, mask: Any, color: str, line: str) -> None:
    if mask.any():
        padded = np.pad(mask.astype(float), 1)
        grid = np.arange(-1, mask.shape[0] + 1), np.arange(-1, mask.shape[1] + 1)
        panel.contour(grid[1], grid[0], padded, levels=[0.5], colors=[color], linewidths=0.8, linestyles=line)
