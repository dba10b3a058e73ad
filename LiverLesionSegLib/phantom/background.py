"""A simulated lesion in a real recorded sweep: the bridge from simulated to real, for the speckle, the vessels and the artefacts are the recording's.

A recording holds grey levels after an unknown compression. In homogeneous liver of a recorded sweep the deviation of speckle is a constant part of
its mean (measured, see benchmarks/phantom_realism.py), so that grey - black goes as a power of the amplitude: a change of echo by so many
decibels is a factor, and speckle keeps its look. Inside the lesion the slow part of the picture is replaced by the surroundings' mean times
that factor, which removes vessels there; the speckle itself stays.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import PhantomError
from ..geometry import transform_points
from ..progress import IsCancelled, Progress, report, stop_if_cancelled
from ..segmentation.boxes import hand_drawn_box
from ..sweep import frame_poses
from ..types import Calibration, Fan, FloatArray, Mask, Sweep
from .cases import PhantomCase, draw_seeds, lesion_mask
from .fields import Float32Array, smooth_noise
from .layout import truth_grid
from .lesion import Lesion, draw_echogenicity, draw_volume_ml, make_lesion
from .settings import PhantomSettings

ANGLES, RADII = 160, 320
ELEVATION_SIGMA_MM = 1.2
"""Half thickness of the slice over which the lesion's edge is blurred, in standard deviations of an abdominal probe's profile."""
TEXTURE_MM = 2.5
DARKEST_GREY, BRIGHTEST_GREY = 14.0, 140.0
"""Liver in which a lesion can be told from noise and from saturation."""


def insert_lesion(
    sweep: Sweep,
    calibration: Calibration,
    seed: int,
    settings: PhantomSettings,
    *,
    frame_range: tuple[int, int] | None = None,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> PhantomCase:
    """`sweep` (with its calibration, which must have a fan) with one simulated lesion in it, drawn from `seed`.

    frame_range: (first, one past the last) of the frames to use, so that training and test can use separate parts of one recording.
    Of the settings, those of the lesion count, and `background_grey_power`. Frame of truth, box and seeds: that of the sweep's poses, mm.
    Raises PhantomError when the recording has no room for a lesion, SweepError when it has no usable pose.
    """
    if calibration.fan is None:
        raise PhantomError("The background's configuration has no fan, which says what lies behind the lesion; add FanAnglesDeg and its companions.")
    if frame_range is not None:
        sweep = part_of(sweep, *frame_range)
    poses = frame_poses(sweep, calibration)
    rng = np.random.default_rng([seed, 0])
    pixel_mm = float(np.linalg.norm(calibration.image_to_probe[:3, 0]))
    black = _black_level(sweep.images, calibration.fan)
    usable = np.flatnonzero(poses.usable)
    place = _Places(sweep.images, calibration.fan, poses.image_to_reference[usable], usable, pixel_mm)
    echogenicity = draw_echogenicity(rng, settings)
    report(progress, 0.02, "looking for room in the liver")
    lesion = _place(rng, settings, place, "hypo" if echogenicity == "none" else echogenicity)
    lesions = () if echogenicity == "none" else (lesion,)

    images = np.array(sweep.images)
    if lesions:
        nearest = usable[np.abs(np.arange(len(sweep))[:, None] - usable[None, :]).argmin(axis=1)]
        painter = _Painter(rng, lesion, calibration.fan, pixel_mm, settings.background_grey_power, black)
        for frame in range(len(sweep)):
            stop_if_cancelled(cancelled)
            report(progress, 0.1 + 0.88 * frame / len(sweep), f"painting frame {frame + 1} of {len(sweep)}")
            images[frame] = painter.paint(images[frame], poses.image_to_reference[nearest[frame]])

    reach = lesion.reach_mm + 25.0
    grid = replace(truth_grid(lesion.centre - reach, lesion.centre + reach, np.eye(4), settings.truth_spacing_mm), frame=poses.frame)
    provenance = {"method": "phantom-background", "seed": seed, "echogenicity": echogenicity, "background": Path(sweep.source).name}
    outline = Mask(lesion_mask((lesion,), grid, np.eye(4)), grid, provenance)
    truth = outline if lesions else Mask(np.zeros(grid.shape, dtype=bool), grid, provenance)
    notes = {
        "probe": "recorded", "seed": seed, "frames": len(sweep), "background": Path(sweep.source).name,
        "frame_range": list(frame_range or (0, len(sweep))),
        "contrast_db": round(lesion.contrast_db, 2) if lesions else None,
    }  # fmt: skip
    report(progress, 1.0, "inserted")
    box_rng = np.random.default_rng([seed, 5])
    return PhantomCase(
        sweep=replace(sweep, images=images),
        calibration=calibration,
        truth=truth,
        box=hand_drawn_box(outline, box_rng),
        seeds=draw_seeds(box_rng, lesion) if lesions else np.zeros((0, 3)),
        echogenicity=echogenicity,
        lesion_ml=truth.volume_ml,
        lesions=lesions,
        reference_to_anatomy=np.eye(4),
        notes=notes,
    )


def part_of(sweep: Sweep, first: int, stop: int) -> Sweep:
    """Frames `first` to `stop` - 1 of `sweep`. Raises PhantomError when there are fewer than two."""
    if not 0 <= first < stop <= len(sweep) or stop - first < 2:
        raise PhantomError(f"The frame range {first}:{stop} is not in this sweep of {len(sweep)} frames; choose at least two that are.")
    part = slice(first, stop)
    return replace(
        sweep,
        images=sweep.images[part],
        transforms={name: matrices[part] for name, matrices in sweep.transforms.items()},
        statuses={name: ok[part] for name, ok in sweep.statuses.items()},
        timestamps=sweep.timestamps[part],
        image_ok=sweep.image_ok[part],
        frame_fields={name: values[part] for name, values in sweep.frame_fields.items()},
    )


def _fan_pixels(fan: Fan, shape: tuple[int, ...], pixel_margin: float = 0.0) -> NDArray[np.bool_]:
    """(rows, columns) True inside the fan, shrunk by `pixel_margin` on all sides."""
    x, y = np.arange(shape[1])[None, :] - fan.origin_px[0], np.arange(shape[0])[:, None] - fan.origin_px[1]
    angle, radius = np.arctan2(x, y), np.hypot(x, y)
    first, last = np.deg2rad(fan.angles_deg)
    aside = pixel_margin / np.maximum(radius, 1.0)
    return np.asarray(
        (angle >= first + aside) & (angle <= last - aside) & (radius >= fan.radii_px[0] + pixel_margin) & (radius <= fan.radii_px[1] - pixel_margin)
    )


def _black_level(images: NDArray[np.uint8], fan: Fan) -> float:
    """The grey level that no echo gives: a low percentile inside the fan."""
    inside = _fan_pixels(fan, images.shape[1:], 4.0)
    return float(np.percentile(images[:: max(len(images) // 8, 1)][:, inside], 1.0))


class _Places:
    """Where a recording has room: liver of medium brightness with little structure, seen from both sides."""

    def __init__(self, images: NDArray[np.uint8], fan: Fan, matrices: FloatArray, frames: NDArray[np.intp], pixel_mm: float) -> None:
        self.images, self.fan, self.matrices, self.frames, self.pixel_mm = images, fan, matrices, frames, pixel_mm
        self._inverse = np.linalg.inv(matrices)

    def candidates(self, rng: np.random.Generator, reach_mm: float, count: int) -> list[tuple[float, FloatArray]]:
        """Up to `count` (roughness of the surroundings, centre in mm), drawn at random in the middle frames."""
        found = []
        inside = _fan_pixels(self.fan, self.images.shape[1:], reach_mm / self.pixel_mm)
        # The body wall is no place for a metastasis: the first sixth of the depth is left out.
        rows = np.arange(inside.shape[0])[:, None] - self.fan.origin_px[1]
        columns = np.arange(inside.shape[1])[None, :] - self.fan.origin_px[0]
        inside &= np.hypot(rows, columns) > self.fan.radii_px[0] + (self.fan.radii_px[1] - self.fan.radii_px[0]) / 6 + reach_mm / self.pixel_mm
        spots = np.argwhere(inside)
        if not len(spots):
            return []
        half = max(int(0.8 * reach_mm / self.pixel_mm), 3)
        for _ in range(count):
            which = int(rng.integers(len(self.frames) // 4, max(3 * len(self.frames) // 4, len(self.frames) // 4 + 1)))
            row, column = spots[int(rng.integers(len(spots)))]
            patch = self.images[self.frames[which], max(row - half, 0) : row + half, max(column - half, 0) : column + half].astype(np.float32)
            mean = float(patch.mean())
            if DARKEST_GREY <= mean <= BRIGHTEST_GREY:
                slow = ndimage.uniform_filter(patch, max(half // 3, 2))
                roughness = float(slow.std() / mean)
                found.append((roughness, transform_points(self.matrices[which], np.array([column, row, 0.0]))))
        return found

    def sees(self, points: FloatArray) -> bool:
        """Whether all of the (n, 3) points in mm lie between two frames, inside the fan of the nearest."""
        local = np.einsum("fab,nb->fna", self._inverse[:, :3, :3], points) + self._inverse[:, None, :3, 3]
        between = (local[..., 2].min(axis=0) <= 0) & (local[..., 2].max(axis=0) >= 0)
        closest = np.take_along_axis(local, np.abs(local[..., 2]).argmin(axis=0)[None, :, None], axis=0)[0]
        x, y = closest[:, 0] - self.fan.origin_px[0], closest[:, 1] - self.fan.origin_px[1]
        angle, radius = np.degrees(np.arctan2(x, y)), np.hypot(x, y)
        inside = (angle >= self.fan.angles_deg[0]) & (angle <= self.fan.angles_deg[1])
        inside &= (radius >= self.fan.radii_px[0]) & (radius <= self.fan.radii_px[1])
        return bool((between & inside).all())


def _place(rng: np.random.Generator, settings: PhantomSettings, places: _Places, echogenicity: str) -> Lesion:
    """A lesion where the recording shows even liver all around it; smaller ones are tried where a large one does not fit."""
    directions = rng.standard_normal((150, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    volume_ml = draw_volume_ml(rng, settings)
    while volume_ml >= 0.8 * settings.lesion_ml[0]:
        lesion = make_lesion(rng, settings, volume_ml, echogenicity, np.zeros(3))
        candidates = places.candidates(rng, float(lesion.reach_mm.max()), 300)
        for _roughness, centre in sorted(candidates, key=lambda each: each[0])[: max(len(candidates) // 3, 1)]:
            if places.sees(centre + directions * lesion.reach_mm):
                return lesion.moved(centre)
        volume_ml *= 0.75
    raise PhantomError(
        f"The recording has no room for a lesion of {settings.lesion_ml[0]:g} mL or more in even liver; take more frames, or allow smaller lesions."
    )


class _Painter:
    """Paints one lesion into frames. All maps are made on beams and depths, where shadows are straight, then brought to the pixels."""

    def __init__(self, rng: np.random.Generator, lesion: Lesion, fan: Fan, pixel_mm: float, power: float, black: float) -> None:
        self.lesion, self.fan, self.pixel_mm, self.black = lesion, fan, pixel_mm, black
        self._factor = power * np.log(10) / 20
        self._frequency = 3.0
        self._angle = np.deg2rad(np.linspace(*fan.angles_deg, ANGLES))
        self._radius = np.linspace(*fan.radii_px, RADII)
        self._columns = fan.origin_px[0] + self._radius[:, None] * np.sin(self._angle)
        self._rows = fan.origin_px[1] + self._radius[:, None] * np.cos(self._angle)
        self._texture_low = lesion.centre - lesion.reach_mm - 4.0
        count = np.ceil((2 * lesion.reach_mm + 8.0) / 1.0).astype(int) + 1
        self._texture = smooth_noise(rng, (int(count[0]), int(count[1]), int(count[2])), (1.0, 1.0, 1.0), TEXTURE_MM)

    def _sampled(self, matrix: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Part of the tissue, echo in dB, shadow in dB (negative: darker behind), each (RADII, ANGLES), blurred across the slice."""
        part, echo, loss = (np.zeros((RADII, ANGLES)) for _ in range(3))
        normal = matrix[:3, 2] / np.linalg.norm(matrix[:3, 2])
        points = np.stack([self._columns, self._rows, np.zeros_like(self._rows)], axis=-1)
        centre_plane = transform_points(matrix, points)
        near = np.linalg.norm(centre_plane - self.lesion.centre, axis=-1) < np.linalg.norm(self.lesion.reach_mm) + 4.0
        if not near.any():
            return part, echo, loss
        for offset, weight in ((-1.2, 0.25), (0.0, 0.5), (1.2, 0.25)):
            at = centre_plane[near] + normal * (offset * ELEVATION_SIGMA_MM)
            texture = ndimage.map_coordinates(self._texture, (at - self._texture_low).T, order=1, mode="nearest")
            inside, decibel, added = self.lesion.appearance(at, texture)
            part[near] += weight * inside
            echo[near] += weight * inside * decibel
            loss[near] += weight * added
        beam_mm = self.pixel_mm * float(self._radius.mean()) * float(self._angle[1] - self._angle[0])
        blur = (0.35 / (self.pixel_mm * float(self._radius[1] - self._radius[0])), 0.9 / beam_mm)
        part, echo = ndimage.gaussian_filter(part, blur), ndimage.gaussian_filter(echo, blur)
        step_cm = self.pixel_mm * (self._radius[1] - self._radius[0]) / 10
        return part, echo / np.maximum(part, 1e-3), -2 * self._frequency * step_cm * np.cumsum(loss, axis=0)

    def paint(self, image: NDArray[np.uint8], matrix: FloatArray) -> NDArray[np.uint8]:
        """(rows, columns) uint8: the frame whose pixels lie at `matrix` (4, 4), with the lesion in it."""
        part, echo, shadow = self._sampled(matrix)
        touched = (part > 1e-3) | (np.abs(shadow) > 0.02)
        if not touched.any():
            return image
        rows = slice(max(int(self._rows[touched].min()) - 2, 0), min(int(self._rows[touched].max()) + 3, image.shape[0]))
        columns = slice(max(int(self._columns[touched].min()) - 2, 0), min(int(self._columns[touched].max()) + 3, image.shape[1]))
        x = np.arange(columns.start, columns.stop)[None, :] - self.fan.origin_px[0]
        y = np.arange(rows.start, rows.stop)[:, None] - self.fan.origin_px[1]
        at = np.stack([
            (np.hypot(x, y) - self._radius[0]) / (self._radius[1] - self._radius[0]),
            (np.arctan2(x, y) - self._angle[0]) / (self._angle[1] - self._angle[0]),
        ])  # fmt: skip
        inside = _fan_pixels(self.fan, image.shape)[rows, columns]
        part, echo, shadow = (ndimage.map_coordinates(each, at, order=1, mode="nearest") * inside for each in (part, echo, shadow))

        level = np.log(np.maximum(image.astype(np.float32) - np.float32(self.black), 0.5))
        weight = _fan_pixels(self.fan, image.shape).astype(np.float32)
        slow, around = (_local_mean(level, weight, sigma / self.pixel_mm)[rows, columns] for sigma in (1.6, 7.0))
        window = level[rows, columns]
        deviation = float(np.std((window - slow)[inside])) + 1e-6
        speckle = np.clip(window - slow, -2.5 * deviation, 2.5 * deviation)
        painted = window + part * (around + self._factor * echo + speckle - window) + self._factor * shadow
        result = image.copy()
        grey = np.clip(np.exp(painted) + self.black + 0.5, 0, 255).astype(np.uint8)
        changed = inside & ((part > 1e-3) | (np.abs(shadow) > 0.02))
        result[rows, columns] = np.where(changed, grey, image[rows, columns])
        return result


def _local_mean(level: Float32Array, weight: Float32Array, sigma_px: float) -> Float32Array:
    """Gaussian mean of `level` over the pixels with `weight` (normalised convolution)."""
    # Three box filters come close to a Gaussian (central limit) at a cost that does not grow with its width.
    size = max(round(sigma_px * np.sqrt(12 / 3)), 1) | 1
    value, norm = level * weight, weight
    for _ in range(3):
        value, norm = ndimage.uniform_filter(value, size), ndimage.uniform_filter(norm, size)
    return np.asarray(value / np.maximum(norm, 1e-3), dtype=np.float32)
