"""Convex probes: geometry of the fan, width of the beam, and how the scanner turns echoes into grey levels.

The Fan frame, in mm: origin at the centre of the probe's face, +x right in the image, +y deep, +z = x cross y (elevation).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..types import Calibration, Fan, FloatArray
from .settings import PhantomSettings

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
    dynamic_range_db, grey_exponent: grey = 255 ((dB + range) / range) ** exponent; parenchyma_grey: where normal liver comes
    to lie; floor_grey: what no echo gives.
    noise_db: electronic noise against liver's echo at the face; tgc_db_cm_mhz, tgc_maximum_db: what
    the time-gain compensation assumes, and the most that it adds.
    body_wall_mm: (least, most) thickness of what lies between probe and liver; contact_db: how unevenly the beams couple;
    ringing_db, ringing_mm: the echo of the transmit pulse in the face itself, and the depth over which it fades to 1/e.
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
    floor_grey: float
    noise_db: float
    tgc_maximum_db: float
    beams: int
    step_mm: float
    voxel_mm: tuple[float, float, float]
    body_wall_mm: tuple[float, float] = (0.0, 0.0)
    contact_db: float = 1.0
    tgc_db_cm_mhz: float = LIVER_ATTENUATION_DB_CM_MHZ
    ringing_db: float = 8.0
    ringing_mm: float = 1.2

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
    depth_mm=52.0,
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
    parenchyma_grey=95.0,
    floor_grey=2.0,
    noise_db=-49.0,
    tgc_maximum_db=44.0,
    beams=224,
    step_mm=0.13,
    voxel_mm=(0.25, 0.17, 0.6),
)
"""T-shaped convex intraoperative probe, 5-14 MHz, focus 2.5-6.5 cm (the class of Natali et al. 2025), received band about 7.5 MHz. No data sheet was
at hand: fan, pulse and beam are plausible values for this class, compression and noise were chosen by eye."""

TRANSCUTANEOUS = Probe(
    name="transcutaneous",
    frequency_mhz=3.0,
    radius_mm=50.8,
    half_angle_deg=30.28,
    depth_mm=177.2,
    axial_fwhm_mm=0.85,
    f_number=2.6,
    aperture_mm=28.0,
    lateral_factor=1.2,
    elevation_height_mm=10.0,
    elevation_focus_mm=40.0,
    elevation_fwhm_mm=1.6,
    looks=6,
    dynamic_range_db=58.0,
    grey_exponent=3.0,
    parenchyma_grey=64.0,
    floor_grey=7.0,
    noise_db=-54.0,
    tgc_maximum_db=36.0,
    beams=224,
    step_mm=0.3,
    voxel_mm=(0.6, 0.4, 1.3),
    body_wall_mm=(20.0, 30.0),
    contact_db=7.5,
    tgc_db_cm_mhz=0.435,
)
"""Abdominal convex probe, 2-5 MHz. Fan, pulse, beam widths, compression and noise are fitted to a recorded sweep (benchmarks/phantom_realism.py), so
that the slice is the effective one of its harmonic imaging, thinner than the lens alone would give."""

PRESETS = {probe.name: probe for probe in (OPEN_SURGERY, TRANSCUTANEOUS)}


def probe_of(settings: PhantomSettings) -> Probe:
    """The preset that `settings` name, with the fan and the frequency that they change: widths of pulse and beam go with the wavelength."""
    probe = PRESETS[settings.probe]
    depth = probe.depth_mm if settings.depth_mm is None else settings.depth_mm
    frequency = probe.frequency_mhz if settings.frequency_mhz is None else settings.frequency_mhz
    return replace(
        probe,
        depth_mm=depth,
        half_angle_deg=probe.half_angle_deg if settings.half_angle_deg is None else settings.half_angle_deg,
        frequency_mhz=frequency,
        axial_fwhm_mm=probe.axial_fwhm_mm * probe.frequency_mhz / frequency,
    )


def as_set_up(rng: np.random.Generator, probe: Probe, variation: float) -> Probe:
    """The same probe on a scanner as the next operator sets it: band, apertures, compounding, compression and noise; its fan stays.

    variation: 0 for none, 1 for what differs between good scanners and presets.
    """

    def about(value: float, spread: float) -> float:
        return value * float(np.exp(np.clip(rng.normal(0, spread * variation), -2.5 * spread, 2.5 * spread)))

    return replace(
        probe,
        frequency_mhz=about(probe.frequency_mhz, 0.1),
        axial_fwhm_mm=about(probe.axial_fwhm_mm, 0.15),
        f_number=about(probe.f_number, 0.12),
        aperture_mm=about(probe.aperture_mm, 0.12),
        elevation_fwhm_mm=about(probe.elevation_fwhm_mm, 0.1),
        looks=max(1, probe.looks + (int(rng.integers(-1, 3)) if variation > 0 else 0)),
        dynamic_range_db=about(probe.dynamic_range_db, 0.12),
        grey_exponent=about(probe.grey_exponent, 0.15),
        parenchyma_grey=about(probe.parenchyma_grey, 0.15),
        noise_db=probe.noise_db + 2.5 * variation * float(rng.standard_normal()),
        tgc_maximum_db=about(probe.tgc_maximum_db, 0.08),
        ringing_db=probe.ringing_db + 5.0 * variation * float(rng.standard_normal()),
    )


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
