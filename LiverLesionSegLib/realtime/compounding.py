"""The likelihood of every frame of a sweep, and of every voxel: the frames' likelihoods go through the product's own reconstruction as images do."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..progress import IsCancelled, Progress, part_of, report, stop_if_cancelled
from ..reconstruction import HoleFillingSettings, Reconstruction, ReconstructionSettings, reconstruct
from ..segmentation.frame_sampling import pixel_size_mm
from ..sweep import frame_poses
from ..types import Calibration, Fan, FloatArray, Sweep, read_only
from .likelihood import LikelihoodSource, checked, insonified, network_to_image

CERTAIN = 255
"""The grey level of probability 1."""
LARGEST_ANISOTROPY = 0.02
"""Frame pixels whose sides differ by no more than this are taken for square where a fan has to be one on the network's pixels."""


def _reconstruction() -> ReconstructionSettings:
    return ReconstructionSettings(spacing_mm=1.0, interpolation="linear", compounding="mean", hole_filling=HoleFillingSettings())


@dataclass(frozen=True, eq=False)
class SweepLikelihood:
    """images: (N, h, w) uint8, probability times CERTAIN, 0 where a frame was not predicted, on network pixels of `pixel_mm`.

    predicted: (N,) bool, the frames with a usable pose. seconds: of the network, for each of them in the mean.
    """

    images: NDArray[np.uint8]
    pixel_mm: float
    predicted: NDArray[np.bool_]
    model_id: str = ""
    seconds_per_frame: float = field(default=0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", read_only(self.images, np.uint8))
        object.__setattr__(self, "predicted", read_only(self.predicted, np.bool_))


def sweep_likelihood(
    sweep: Sweep, calibration: Calibration, source: LikelihoodSource, *, progress: Progress | None = None, cancelled: IsCancelled | None = None
) -> SweepLikelihood:
    """The likelihood of every frame with a usable pose. What lies outside of the fan and the clip rectangle is 0.

    Raises SweepError without a usable frame, InputError for frames that the network cannot take, ModelError for an answer that cannot be, Cancelled.
    """
    usable = frame_poses(sweep, calibration).usable
    pixel_mm = pixel_size_mm(calibration)
    images: NDArray[np.uint8] | None = None
    network_mm, model_id, inside = 0.0, "", np.zeros((0, 0), dtype=bool)
    begun = time.perf_counter()
    numbers = np.flatnonzero(usable)
    for done, number in enumerate(numbers):
        stop_if_cancelled(cancelled)
        report(progress, done / len(numbers), f"segmenting frame {done + 1} of {len(numbers)}")
        answer = source.predict(sweep.images[number], pixel_mm, calibration=calibration)
        likelihood = checked(answer.array)
        if images is None:
            images = np.zeros((len(sweep), *likelihood.shape), dtype=np.uint8)
            network_mm, model_id = answer.pixel_mm, answer.model_id
            inside = insonified(likelihood.shape, network_mm, sweep.images.shape[1:], calibration)
        if likelihood.shape != images.shape[1:] or answer.pixel_mm != network_mm or answer.model_id != model_id:
            raise ModelError(f"The network answered frame {number} on other pixels, or is another one, than for the first; load the model again.")
        images[number] = np.where(inside, np.rint(likelihood * CERTAIN), 0).astype(np.uint8)
    assert images is not None  # frame_poses raises where no frame is usable
    return SweepLikelihood(images, network_mm, usable, model_id, (time.perf_counter() - begun) / len(numbers))


def network_calibration(calibration: Calibration, network_mm: float) -> Calibration:
    """The calibration of the network's pixels instead of the frame's: image-to-probe, clip rectangle and fan.

    A fan is a sector of pixels. On frame pixels that are not square it would be none on the network's: it is left out then, and what lies outside
    of it counts as seen, with the likelihood 0 that `sweep_likelihood` gives it.
    """
    pixel_mm = pixel_size_mm(calibration)
    to_image = network_to_image(network_mm, pixel_mm)
    clip = None
    if calibration.clip_px is not None:
        column, row, columns, rows = calibration.clip_px
        left, top = (max(0, int(np.ceil(_to_network(v, to_image, axis) - 1e-6))) for axis, v in enumerate((column, row)))
        right, bottom = (int(np.floor(_to_network(v, to_image, axis) + 1e-6)) for axis, v in enumerate((column + columns, row + rows)))
        clip = (left, top, max(1, right - left), max(1, bottom - top))
    fan = calibration.fan
    if fan is not None and abs(pixel_mm[0] / pixel_mm[1] - 1) <= LARGEST_ANISOTROPY:
        scale = float(np.sqrt(pixel_mm[0] * pixel_mm[1])) / network_mm
        x, y = (_to_network(v, to_image, axis) for axis, v in enumerate(fan.origin_px))
        fan = Fan((x, y), fan.angles_deg, (fan.radii_px[0] * scale, fan.radii_px[1] * scale))
    else:
        fan = None
    return replace(calibration, image_to_probe=calibration.image_to_probe @ to_image, clip_px=clip, fan=fan)


def _to_network(value: float, to_image: FloatArray, axis: int) -> float:
    return float((value - to_image[axis, 3]) / to_image[axis, axis])


def as_sweep(sweep: Sweep, likelihood: SweepLikelihood) -> Sweep:
    """The sweep with likelihoods for images. Raises ModelError when there is not one for each frame."""
    if len(likelihood.images) != len(sweep):
        raise ModelError(f"{len(likelihood.images)} likelihoods cannot be those of a sweep of {len(sweep)} frames; predict this sweep.")
    return replace(sweep, images=likelihood.images, image_ok=sweep.image_ok & likelihood.predicted)


def likelihood_volume(
    sweep: Sweep,
    calibration: Calibration,
    likelihood: SweepLikelihood,
    settings: ReconstructionSettings | None = None,
    *,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> Reconstruction:
    """Mean likelihood, times CERTAIN, of the frames that saw a voxel; by default 1 mm voxels, with gaps between frames filled.

    Raises what `reconstruct` raises.
    """
    target = network_calibration(calibration, likelihood.pixel_mm)
    return reconstruct(as_sweep(sweep, likelihood), target, settings or _reconstruction(), progress=part_of(progress, 0.0, 1.0), cancelled=cancelled)
