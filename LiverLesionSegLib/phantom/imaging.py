"""From scatterers to the grey levels of one frame: beam, envelope, attenuation, compression, scan conversion.

The echo is the scatterers convolved with a separable Gaussian point spread (linear, first Born approximation: Bamber and Dickinson,
"Ultrasonic B-scanning: a computer simulation", Phys Med Biol 1980; Jensen, "Field: a program for simulating ultrasound systems", 1996), at
baseband: the carrier only turns the phase of scatterers that are random anyway. Work is done on beams and depths, then converted to the
fan's pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, signal

from ..types import FloatArray
from .fields import smooth_noise
from .probe import LIVER_ATTENUATION_DB_CM_MHZ, ImageGeometry, Probe
from .surroundings import GAS_ATTENUATION
from .tissue import Tissue

PLANES = (-1.8, -1.35, -0.9, -0.45, 0.0, 0.45, 0.9, 1.35, 1.8)
"""Where the slice is sampled across its thickness, in standard deviations of its profile: closer than the scatterers lie, or speckle would
change between frames faster than the slice moves on."""
PLANE_WEIGHTS = np.exp(-0.5 * np.square(PLANES)).astype(np.float32)
MIRROR_GAIN = np.float32(0.6)
"""Brings the echo of smooth interfaces to the level that is seen in recorded sweeps."""
REVERBERATION = np.float32(0.05)
"""Amplitude of an interface's second echo against its first; chosen by eye."""
GAS_TAIL_MM, GAS_BEAT_MM = 6.0, 1.1
"""Length over which the tail behind a bubble fades to 1/e, and the distance of its bands; chosen by eye."""
EDGE_BEAMS = 12
"""Beams beyond the fan on either side, so that the lateral convolution wraps around outside what is shown."""
LOOK_STEP = 1.8
"""Distance of the sub-apertures' centres in standard deviations of their spectrum: neighbours are nearly uncorrelated (exp(-1.8^2/4) = 0.44)."""


class Imager:
    """A probe looking at tissue. `frame` is a pure function of the pose and of the noise generator given."""

    def __init__(self, probe: Probe, geometry: ImageGeometry, tissue: Tissue, detail: float, gain_db: float, rng: np.random.Generator) -> None:
        self.probe, self.geometry, self.tissue = probe, geometry, tissue
        half = np.deg2rad(probe.half_angle_deg)
        beams = max(int(probe.beams * detail), 48)
        self._beam_step = 2 * half / (beams - 1)
        angle = (np.arange(-EDGE_BEAMS, beams + EDGE_BEAMS) - (beams - 1) / 2) * self._beam_step
        self._step = probe.step_mm / detail
        self.depth = np.arange(0, probe.depth_mm + 2 * self._step, self._step)
        radius = self.depth + probe.radius_mm
        self._x = (radius[:, None] * np.sin(angle)).astype(np.float32)
        self._y = (radius[:, None] * np.cos(angle) - probe.radius_mm).astype(np.float32)
        self._ray = np.stack([np.sin(angle), np.cos(angle), np.zeros_like(angle)]).astype(np.float32)
        self._slice = probe.elevation_sigma_mm(self.depth)[:, None].astype(np.float32)
        self._transfer = self._lateral_transfer(radius, len(angle))
        compensation = 2 * probe.tgc_db_cm_mhz * probe.frequency_mhz * self.depth / 10
        self._tgc = (10 ** (np.minimum(compensation, probe.tgc_maximum_db) / 20))[:, None].astype(np.float32)
        # Contact and the aperture's loss at the edge of the array: beams differ slowly in strength.
        profile = smooth_noise(rng, (len(angle),), (1.0,), beams / 5)
        decibel = np.minimum(profile * np.float32(probe.contact_db / 2), probe.contact_db / 4)
        # One side often has poor contact or a rib in front of it: its beams fall off.
        side, start = float(rng.choice([-1.0, 1.0])), float(rng.uniform(0.1, 1.0))
        decibel -= probe.contact_db * float(rng.uniform(0, 4)) * np.clip(side * angle / half - start, 0, 0.6)
        edge = np.clip(np.abs(angle) / half - 0.75, 0, 1) * float(rng.uniform(2, 10))
        self._contact = (10 ** ((decibel - edge) / 20)).astype(np.float32)
        # The transmit pulse rings on in the face: bands that stand still in every frame.
        bands = smooth_noise(rng, (len(self.depth), len(angle)), (self._step, 0.02), max(0.6, 3 * self._step))
        ringing = np.maximum(1.0 + bands, 0) * np.exp(-self.depth / probe.ringing_mm)[:, None] * 10 ** (probe.ringing_db / 20)
        self._ringing = ringing.astype(np.float32)
        level = probe.dynamic_range_db * ((probe.parenchyma_grey - probe.floor_grey) / (255 - probe.floor_grey)) ** (1 / probe.grey_exponent)
        self._offset_db = level + gain_db
        self._scatter_gain = self._gain_for_scatterers()
        self._prepare_conversion(angle, radius)

    def _lateral_transfer(self, radius: FloatArray, count: int) -> NDArray[np.float32]:
        """(looks, depths, beams) transfer functions of the lateral point spread, of unit gain for white noise."""
        sigma = self.probe.lateral_sigma_mm(self.depth) / (radius * self._beam_step)
        frequency = np.fft.fftfreq(count)[None, :]
        width = 1 / (2 * np.pi * np.maximum(sigma, 0.3))[:, None] / np.sqrt(2)
        looks = (np.arange(self.probe.looks) - (self.probe.looks - 1) / 2) * LOOK_STEP
        transfer = np.stack([np.exp(-((frequency - look * width) ** 2) / (4 * width**2)) for look in looks])
        return np.asarray(transfer / np.sqrt((transfer**2).mean(axis=-1, keepdims=True)), dtype=np.float32)

    def _prepare_conversion(self, angle: FloatArray, radius: FloatArray) -> None:
        pixel_angle, pixel_radius, inside = self.geometry.polar()
        self._pixels = np.flatnonzero(inside)
        row = np.clip((pixel_radius.ravel()[self._pixels] - radius[0]) / self._step, 0, len(radius) - 1.001)
        column = np.clip((pixel_angle.ravel()[self._pixels] - angle[0]) / self._beam_step, 0, len(angle) - 1.001)
        self._corner = (row.astype(np.int32) * len(angle) + column.astype(np.int32)).astype(np.intp)
        self._down, self._right = (row % 1).astype(np.float32), (column % 1).astype(np.float32)

    def _indices(self, pose: FloatArray, offset: float) -> NDArray[np.intp]:
        """Flat voxel index of every sample of the plane `offset` slice deviations away; samples outside take the nearest voxel."""
        tissue = self.tissue
        matrix = (pose[:3, :3] / tissue.voxel[:, None]).astype(np.float32)
        start = ((pose[:3, 3] - tissue.origin) / tissue.voxel + 0.5).astype(np.float32)
        across = self._slice * np.float32(offset)
        flat = np.zeros(self._x.shape, dtype=np.int32)
        for axis in (2, 1, 0):
            count = tissue.scatter.shape[2 - axis]
            position = matrix[axis, 0] * self._x
            position += matrix[axis, 1] * self._y
            position += matrix[axis, 2] * across + start[axis]
            np.clip(position, 0, count - 0.5, out=position)
            flat *= count
            flat += position.astype(np.int32)
        return flat.astype(np.intp)

    def envelope(self, pose: FloatArray, rng: np.random.Generator) -> NDArray[np.float32]:
        """(depths, beams) amplitude before compression, parenchyma about 1; pose: (4, 4) Fan to Anatomy."""
        tissue, probe = self.tissue, self.probe
        scatter = tissue.scatter.reshape(-1)
        echo = np.zeros(self._x.shape, dtype=np.complex64)
        for offset, weight in zip(PLANES, PLANE_WEIGHTS, strict=True):
            index = self._indices(pose, offset)
            echo += scatter[index] * weight
            if offset == 0.0:
                loss = tissue.attenuation.reshape(-1)[index]
                mirror = [tissue.specular[axis].reshape(-1)[index].astype(np.float32) for axis in range(3)]
        echo *= self._scatter_gain
        smooth = self._mirror_echo(pose, mirror)
        echo += smooth
        echo += self._ringing
        self._add_reverberation(echo, smooth, loss, rng)
        echo *= np.exp(np.cumsum(loss, axis=0) * np.float32(-np.log(10) / 20 * 2 * probe.frequency_mhz * self._step / 10))
        echo *= self._contact
        noise = rng.standard_normal((*echo.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
        echo = (echo + noise * np.float32(10 ** (probe.noise_db / 20) * np.sqrt(0.5))) * self._tgc
        looks = self._looks(echo)
        result = np.abs(next(looks))
        for look in looks:
            result += np.abs(look)
        result /= np.float32(len(self._transfer))
        return result

    def _looks(self, echo: NDArray[np.complex64]) -> Iterator[NDArray[np.complex64]]:
        """The echoes through pulse and beam, once for each sub-aperture; unit gain for noise that is white on beams and depths."""
        sigma = self.probe.axial_fwhm_mm / 2.3548 / self._step
        axial = np.float32(np.sqrt(2 * np.sqrt(np.pi) * sigma))
        spectrum = fft.fft(ndimage.gaussian_filter1d(echo, sigma, axis=0, truncate=3.0) * axial, axis=1)
        for transfer in self._transfer:
            yield fft.ifft(spectrum * transfer, axis=1)

    def _gain_for_scatterers(self) -> NDArray[np.float32]:
        """(depths, 1) factor that gives even tissue a mean amplitude power of 1: samples that share a voxel are not independent.

        Measured on a table of random scatterers that is spread over the voxels.
        """
        table = np.random.default_rng(0).standard_normal((65521, 2)).astype(np.float32).view(np.complex64)[:, 0] * np.float32(np.sqrt(0.5))
        middle = np.eye(4)
        echo = np.zeros(self._x.shape, dtype=np.complex64)
        for offset, weight in zip(PLANES, PLANE_WEIGHTS, strict=True):
            # A prime stride keeps neighbours in different places of the table.
            echo += table[self._indices(middle, offset) * 7919 % len(table)] * weight
        power = np.mean([np.mean(np.abs(look) ** 2, axis=1) for look in self._looks(echo)], axis=0)
        smooth = ndimage.gaussian_filter1d(power, 4.0 / self._step, mode="nearest")
        return np.asarray(1 / np.sqrt(smooth), dtype=np.float32)[:, None]

    def _add_reverberation(
        self, echo: NDArray[np.complex64], smooth: NDArray[np.float32], loss: NDArray[np.float32], rng: np.random.Generator
    ) -> None:
        """Echoes that went to and fro, in place: a strong interface again at twice its depth, and the tail behind gas.

        (Feldman, Katyal and Blackwood, "US artifacts", RadioGraphics 2009.)
        """
        echo += REVERBERATION * smooth[np.arange(len(echo)) // 2]
        gas = np.maximum(loss - np.float32(0.5 * GAS_ATTENUATION), 0)
        if not gas.any():
            return
        # The bubble's ringing: an exponential tail, whose speckle comes from the bubble itself and so runs straight down the beam.
        fade = np.float32(np.exp(-self._step / GAS_TAIL_MM))
        beams = np.flatnonzero(gas.any(axis=0))
        tail = signal.lfilter([self._step], [1.0, -fade], gas[:, beams], axis=0).astype(np.float32)
        beat = 1 + 0.8 * np.sin(2 * np.pi * self.depth / GAS_BEAT_MM, dtype=np.float32)[:, None]
        phase = rng.standard_normal((2, len(beams)), dtype=np.float32)
        # The gas's own attenuation is undone here: the tail is sound that stays in front of it and leaks out late.
        undo = np.exp(
            np.cumsum(loss[:, beams] - LIVER_ATTENUATION_DB_CM_MHZ, axis=0) * np.float32(np.log(10) / 10 * self.probe.frequency_mhz * self._step / 10)
        )
        echo[:, beams] += np.float32(0.8) * tail * beat * (phase[0] + 1j * phase[1]) * np.minimum(undo, 1e3)

    def _mirror_echo(self, pose: FloatArray, mirror: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Echo of smooth interfaces: strength times cosine to the fourth of the angle between beam and normal."""
        ray = pose[:3, :3].astype(np.float32) @ self._ray
        along = sum(part * ray[axis] for axis, part in enumerate(mirror))
        strength = np.sqrt(sum(part * part for part in mirror)) + np.float32(1e-6)
        cosine = np.minimum(np.abs(along) / strength, 1)
        return np.asarray(MIRROR_GAIN * strength * cosine**4, dtype=np.float32)

    def compress(self, envelope: NDArray[np.float32]) -> NDArray[np.float32]:
        """Amplitude to grey levels 0..255 (float)."""
        probe = self.probe
        decibel = 20 * np.log10(np.maximum(envelope, 1e-6)) + np.float32(self._offset_db)
        grey = np.clip(decibel / np.float32(probe.dynamic_range_db), 0, 1) ** np.float32(probe.grey_exponent)
        grey *= np.float32(255 - probe.floor_grey)
        grey += np.float32(probe.floor_grey)
        return np.asarray(grey, dtype=np.float32)

    def frame(self, pose: FloatArray, rng: np.random.Generator) -> NDArray[np.uint8]:
        """(rows, columns) uint8 image of the frame at `pose` ((4, 4) Fan to Anatomy); `rng` gives its electronic noise."""
        grey = self.compress(self.envelope(pose, rng))
        flat, width = grey.reshape(-1), grey.shape[1]
        upper = flat[self._corner] * (1 - self._right) + flat[self._corner + 1] * self._right
        lower = flat[self._corner + width] * (1 - self._right) + flat[self._corner + width + 1] * self._right
        image = np.zeros(self.geometry.rows * self.geometry.columns, dtype=np.uint8)
        image[self._pixels] = (upper * (1 - self._down) + lower * self._down + np.float32(0.5)).astype(np.uint8)
        return image.reshape(self.geometry.rows, self.geometry.columns)
