"""Convex probes: geometry of the fan, width of the beam, and how the scanner turns echoes into grey levels.

The Fan frame, in mm: origin at the centre of the probe's face, +x right in the image, +y deep, +z = x cross y (elevation).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import Calibration, Fan, FloatArray

SOUND_SPEED_MM_PER_US = 1.54
"""Soft tissue, 1540 m/s: what scanners assume (IEC 61391-1)."""
LIVER_ATTENUATION_DB_CM_MHZ = 0.5
"""Normal liver, 0.4 to 0.6 dB/cm/MHz (ICRU Report 61, 1998; Duck, Physical Properties of Tissue, 1990)."""


@dataclass(frozen=True)
class Probe:
    """A convex probe with the settings of its scanner. Lengths in mm.

    radius_mm, half_angle_deg, depth_mm: the fan. frequency_mhz: centre of the received band.
    axial_fwhm_mm: amplitude width of the pulse's envelope. The lateral width is wavelength x max(f_number, depth / aperture_mm) x lateral_factor:
    constant while the aperture grows with depth, then proportional to depth (diffraction of a focused aperture: Szabo, Diagnostic
    Ultrasound Imaging, 2nd ed. 2014, chapter 6).
    elevation_*: slice thickness, an hourglass of the fixed acoustic lens: height at the face, focal depth and width there.
    looks: number of sub-apertures whose envelopes are averaged (spatial compounding: Trahey, Smith and von Ramm, IEEE UFFC 1986).
    dynamic_range_db, grey_exponent: grey = 255 ((dB + range) / range) ** exponent; parenchyma_grey: where normal liver comes to lie.
    noise_db: electronic noise against liver's echo at the face; tgc_maximum_db: the most that the time-gain compensation adds.
    voxel_mm: sampling of the scatterers along x, y, z of the sweep's mean frame.
    """

    name: str
    frequency_mhz: float
    radius_mm: float
    half_angle_deg: float
    depth_mm: float
    axial_fwhm_mm: float
    f_number: float
    aperture_mm: float
    lateral_factor: float
    elevation_height_mm: float
    elevation_focus_mm: float
    elevation_fwhm_mm: float
    looks: int
    dynamic_range_db: float
    grey_exponent: float
    parenchyma_grey: float
    noise_db: float
    tgc_maximum_db: float
    beams: int
    step_mm: float
    voxel_mm: tuple[float, float, float]
    body_wall_mm: tuple[float, float] = (0.0, 0.0)

    @property
    def wavelength_mm(self) -> float:
        """Wavelength in soft tissue, mm."""
        return SOUND_SPEED_MM_PER_US / self.frequency_mhz

    def lateral_sigma_mm(self, depth: FloatArray) -> FloatArray:
        """Standard deviation of the lateral amplitude profile at `depth` (mm), mm."""
        return np.asarray(self.lateral_factor * self.wavelength_mm * np.maximum(self.f_number, depth / self.aperture_mm) / 2.3548)

    def elevation_sigma_mm(self, depth: FloatArray) -> FloatArray:
        """Standard deviation of the amplitude profile across the slice at `depth` (mm), mm."""
        spread = self.elevation_height_mm / 2 * (depth - self.elevation_focus_mm) / self.elevation_focus_mm
        return np.asarray(np.hypot(self.elevation_fwhm_mm, spread) / 2.3548)


OPEN_SURGERY = Probe(
    name="open_surgery",
    frequency_mhz=7.5,
    radius_mm=30.0,
    half_angle_deg=31.0,
    depth_mm=62.0,
    axial_fwhm_mm=0.38,
    f_number=2.2,
    aperture_mm=14.0,
    lateral_factor=1.2,
    elevation_height_mm=5.0,
    elevation_focus_mm=40.0,
    elevation_fwhm_mm=1.4,
    looks=3,
    dynamic_range_db=65.0,
    grey_exponent=1.2,
    parenchyma_grey=85.0,
    noise_db=-45.0,
    tgc_maximum_db=44.0,
    beams=224,
    step_mm=0.13,
    voxel_mm=(0.25, 0.17, 0.6),
)
"""T-shaped convex intraoperative probe, 5-14 MHz, focus 2.5-6.5 cm (the class of Natali et al. 2025), received band about 7.5 MHz."""

TRANSCUTANEOUS = Probe(
    name="transcutaneous",
    frequency_mhz=3.0,
    radius_mm=50.8,
    half_angle_deg=30.28,
    depth_mm=177.2,
    axial_fwhm_mm=1.0,
    f_number=2.0,
    aperture_mm=16.0,
    lateral_factor=1.2,
    elevation_height_mm=13.0,
    elevation_focus_mm=75.0,
    elevation_fwhm_mm=3.5,
    looks=3,
    dynamic_range_db=60.0,
    grey_exponent=1.8,
    parenchyma_grey=36.0,
    noise_db=-45.0,
    tgc_maximum_db=40.0,
    beams=224,
    step_mm=0.3,
    voxel_mm=(0.6, 0.4, 1.5),
    body_wall_mm=(20.0, 30.0),
)
"""Abdominal convex probe, 2-5 MHz; its fan is that of a real recorded sweep."""

PRESETS = {probe.name: probe for probe in (OPEN_SURGERY, TRANSCUTANEOUS)}


@dataclass(frozen=True, eq=False)
class ImageGeometry:
    """Where the fan lies in the image. pixel_mm: spacing; face_px: (column, row) of the centre of the probe's face."""

    columns: int
    rows: int
    pixel_mm: float
    face_px: tuple[float, float]
    fan: Fan

    @property
    def image_to_fan(self) -> FloatArray:
        """(4, 4) pixels (column, row, 0) to mm in the Fan frame."""
        matrix = np.diag([self.pixel_mm, self.pixel_mm, self.pixel_mm, 1.0])
        matrix[:2, 3] = -self.pixel_mm * np.asarray(self.face_px)
        return matrix

    def polar(self) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        """Angle (rad) and radius (mm) of every pixel, (rows, columns) each, and whether it lies in the fan."""
        x = (np.arange(self.columns) - self.fan.origin_px[0]) * self.pixel_mm
        y = (np.arange(self.rows) - self.fan.origin_px[1]) * self.pixel_mm
        angle = np.arctan2(x[None, :], y[:, None])
        radius = np.hypot(x[None, :], y[:, None])
        first, last = np.deg2rad(self.fan.angles_deg)
        start, stop = np.asarray(self.fan.radii_px) * self.pixel_mm
        return angle, radius, (angle >= first) & (angle <= last) & (radius >= start) & (radius <= stop)


def image_geometry(probe: Probe, image_size: tuple[int, int]) -> ImageGeometry:
    """The fan as large as fits into an image of (columns, rows), with a small border, its axis in the middle."""
    columns, rows = image_size
    half = np.deg2rad(probe.half_angle_deg)
    far = probe.radius_mm + probe.depth_mm
    top = probe.radius_mm * np.cos(half)
    pixel = float(max(2 * far * np.sin(half) / (columns - 8), (far - top) / (rows - 8)))
    apex = ((columns - 1) / 2, 4 - top / pixel)
    fan = Fan(apex, (-probe.half_angle_deg, probe.half_angle_deg), (probe.radius_mm / pixel, far / pixel))
    return ImageGeometry(columns, rows, pixel, (apex[0], apex[1] + probe.radius_mm / pixel), fan)


def calibration(geometry: ImageGeometry, fan_to_probe: FloatArray) -> Calibration:
    """What the probe's calibration would give: image to sensor, the clip rectangle around the fan, and the fan."""
    half = np.deg2rad(geometry.fan.angles_deg[1])
    start, stop = geometry.fan.radii_px
    left = max(int(np.floor(geometry.fan.origin_px[0] - stop * np.sin(half))), 0)
    right = min(int(np.ceil(geometry.fan.origin_px[0] + stop * np.sin(half))), geometry.columns - 1)
    top = max(int(np.floor(geometry.fan.origin_px[1] + start * np.cos(half))), 0)
    bottom = min(int(np.ceil(geometry.fan.origin_px[1] + stop)), geometry.rows - 1)
    clip = (left, top, right - left, bottom - top)
    return Calibration(fan_to_probe @ geometry.image_to_fan, clip, geometry.fan, source="phantom")
