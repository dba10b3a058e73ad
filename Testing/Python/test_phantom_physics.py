"""The simulated echoes against theory, and the simulated lesion against what the product reconstructs from the sweep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from LiverLesionSegLib.phantom import PhantomSettings, simulate_case
from LiverLesionSegLib.phantom.fields import smooth_noise
from LiverLesionSegLib.phantom.imaging import Imager
from LiverLesionSegLib.phantom.lesion import make_lesion
from LiverLesionSegLib.phantom.probe import OPEN_SURGERY, image_geometry
from LiverLesionSegLib.phantom.tissue import homogeneous
from LiverLesionSegLib.reconstruction import ReconstructionSettings, reconstruct

SIZE = (320, 240)


@pytest.fixture(scope="module")
def envelope() -> tuple[np.ndarray, Imager]:
    """One look at even tissue, without noise, reverberation or uneven contact."""
    probe = replace(OPEN_SURGERY, looks=1, noise_db=-200.0, ringing_db=-200.0, contact_db=0.0)
    tissue = homogeneous(np.random.default_rng(1), np.array([-55.0, -6.0, -6.0]), np.array([55.0, 62.0, 6.0]), np.asarray(probe.voxel_mm))
    imager = Imager(probe, image_geometry(probe, SIZE), tissue, 1.0, 0.0, np.random.default_rng(2))
    return imager.envelope(np.eye(4), np.random.default_rng(3)), imager


def test_speckle_is_rayleigh(envelope: tuple[np.ndarray, Imager]) -> None:
    """Mean / deviation of a Rayleigh amplitude is sqrt(pi / (4 - pi)) = 1.91 (Wagner et al., 1983), at every depth."""
    amplitude = envelope[0][:, 40:-40]
    for part in np.array_split(amplitude[20:], 4):
        assert part.mean() / part.std() == pytest.approx(1.913, rel=0.07)


def test_parenchyma_is_at_its_level_at_every_depth(envelope: tuple[np.ndarray, Imager]) -> None:
    """Attenuation and its compensation cancel where the tissue is what the scanner assumes."""
    power = [np.sqrt((part**2).mean()) for part in np.array_split(envelope[0][20:, 40:-40], 4)]
    assert power == pytest.approx([1.0] * 4, rel=0.15)


def test_beam_widens_with_depth_and_pulse_does_not(envelope: tuple[np.ndarray, Imager]) -> None:
    """The intensity's autocorrelation has half width sigma sqrt(2 ln 2) for a Gaussian amplitude profile."""
    amplitude, imager = envelope
    probe, depth = imager.probe, imager.depth

    def half_width(part: np.ndarray, axis: int) -> float:
        power = part**2 - (part**2).mean()
        lags = [float((power * np.roll(power, lag, axis)).mean() / (power**2).mean()) for lag in range(40)]
        below = next(index for index, value in enumerate(lags) if value < 0.5)
        return below - (0.5 - lags[below]) / (lags[below - 1] - lags[below])

    step = float(depth[1] - depth[0])
    for low, high in ((15, 25), (40, 52)):
        rows = slice(int(low / step), int(high / step))
        beam_mm = (probe.radius_mm + (low + high) / 2) * 2 * np.deg2rad(probe.half_angle_deg) / (probe.beams - 1)
        lateral = half_width(amplitude[rows, 30:-30], 1) * beam_mm
        sigma = float(probe.lateral_sigma_mm(np.array([(low + high) / 2.0]))[0])
        assert lateral == pytest.approx(sigma * np.sqrt(2 * np.log(2)), rel=0.25)
        axial = half_width(amplitude[rows, 30:-30], 0) * step
        assert axial == pytest.approx(probe.axial_fwhm_mm / 2.3548 * np.sqrt(2 * np.log(2)), rel=0.3)


def test_speckle_stays_with_the_tissue(envelope: tuple[np.ndarray, Imager]) -> None:
    """A frame a little further has nearly the same speckle; one a slice's thickness further has its own."""
    here, imager = envelope

    def correlation(offset_mm: float) -> float:
        pose = np.eye(4)
        pose[2, 3] = offset_mm
        there = imager.envelope(pose, np.random.default_rng(4))
        return float(np.corrcoef(here[100:].ravel(), there[100:].ravel())[0, 1])

    assert correlation(0.1) > 0.8
    assert correlation(4.0) < 0.1


def test_smooth_noise_has_unit_deviation() -> None:
    field = smooth_noise(np.random.default_rng(0), (60, 60, 60), (1.0, 1.0, 1.0), 3.0)
    assert field.std() == pytest.approx(1.0, rel=0.1) and abs(field.mean()) < 0.1


def test_lesion_surface_is_continuous_and_closed() -> None:
    lesion = make_lesion(np.random.default_rng(5), PhantomSettings(), 4.0, "hypo", np.array([1.0, 2.0, 3.0]))
    assert lesion.depth_inside(lesion.centre) > 0
    direction = np.random.default_rng(6).standard_normal((500, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    assert (lesion.depth_inside(lesion.centre + direction * np.linalg.norm(lesion.reach_mm)) < 0).all()
    near = lesion.depth_inside(lesion.centre + 5.0 * direction) - lesion.depth_inside(lesion.centre + 5.0 * direction + 1e-4)
    assert np.abs(near).max() < 1e-3


@pytest.mark.parametrize(("echogenicity", "sign"), [("hypo", -1), ("hyper", 1)])
def test_contrast_in_the_reconstructed_volume(echogenicity: str, sign: int) -> None:
    settings = PhantomSettings(
        frames=40, image_size=SIZE, detail=0.6, echogenicity=echogenicity, lesion_ml=(2.0, 5.0), gas_bubbles=0.0, necrosis=0.0, calcification=0.0
    )
    case = simulate_case(21, settings)
    volume = reconstruct(case.sweep, case.calibration, ReconstructionSettings(spacing_mm=1.0)).volume
    truth = case.truth_on(volume.grid).array
    assert 0.8 * case.lesion_ml < case.truth_on(volume.grid).volume_ml < 1.25 * case.lesion_ml
    assert volume.seen[truth].mean() > 0.85
    inner = ndimage.binary_erosion(truth, iterations=2)
    ring = ndimage.binary_dilation(truth, iterations=6) & ~ndimage.binary_dilation(truth, iterations=2) & volume.seen
    difference = float(volume.array[inner & volume.seen].mean()) - float(volume.array[ring].mean())
    assert sign * difference > 6
