"""What is drawn for a case: how large lesions are, how a hand moves, and that diaphragm, ligament and fat leave the lesion whole."""

from __future__ import annotations

import numpy as np
import pytest

from LiverLesionSegLib.phantom import PhantomSettings
from LiverLesionSegLib.phantom.lesion import draw_echogenicity, draw_volume_ml
from LiverLesionSegLib.phantom.motion import hand_sweep
from LiverLesionSegLib.phantom.probe import LIVER_ATTENUATION_DB_CM_MHZ, OPEN_SURGERY, TRANSCUTANEOUS
from LiverLesionSegLib.phantom.surroundings import Fields, add_diaphragm, add_ligament
from LiverLesionSegLib.phantom.tissue import make_tissue

CENTRE, RADIUS_MM = np.array([10.0, 70.0, 5.0]), 20.0


def test_lesions_are_as_large_as_the_papers() -> None:
    """Natali et al. (2025): median 2.68 mL, 0.56 to 35.6."""
    rng = np.random.default_rng(0)
    volumes = np.array([draw_volume_ml(rng, PhantomSettings()) for _ in range(4000)])
    assert 0.5 <= volumes.min() < 0.6 and 30 < volumes.max() <= 36
    assert np.median(volumes) == pytest.approx(2.7, rel=0.15)  # what is drawn again beyond the range lifts it a little


def test_half_of_the_lesions_are_dark() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_echogenicity(rng, PhantomSettings()) for _ in range(2000)]
    assert [round(drawn.count(kind) / 2000, 1) for kind in ("hypo", "hyper", "mixed")] == pytest.approx([0.5, 0.2, 0.2], abs=0.11)
    assert "iso" not in drawn and draw_echogenicity(rng, PhantomSettings(echogenicity="iso")) == "iso"


@pytest.mark.parametrize("seed", range(5))
def test_a_hand_goes_on_unevenly_and_stays_near_its_way(seed: int) -> None:
    poses = hand_sweep(np.random.default_rng(seed), 60, 40.0, 15.0)
    along = poses[:, 2, 3]
    steps = np.diff(along)
    assert (steps > 0).all() and along[-1] - along[0] == pytest.approx(40.0)
    assert 1.1 < steps.max() / steps.min() < 20
    assert np.abs(poses[:, :2, 3]).max() < 3
    turned = np.degrees(np.arccos(np.clip((poses[0, :3, 2] * poses[-1, :3, 2]).sum(), -1, 1)))
    assert 10 < turned < 20


def fields() -> Fields:
    shape = (20, 90, 60)
    low, voxel = np.array([-60.0, 0.0, -20.0]), np.array([2.0, 2.0, 2.0])
    return Fields(np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros((3, *shape), np.float16), low, voxel)


def from_centre(made: Fields) -> np.ndarray:
    x, y, z = made.axes()
    return np.sqrt((x - CENTRE[0]) ** 2 + (y - CENTRE[1]) ** 2 + (z - CENTRE[2]) ** 2)


@pytest.mark.parametrize("seed", range(6))
def test_the_diaphragm_lies_behind_the_lesion(seed: int) -> None:
    made = fields()
    add_diaphragm(np.random.default_rng(seed), made, TRANSCUTANEOUS, (CENTRE, RADIUS_MM))
    assert np.abs(made.decibel[from_centre(made) < RADIUS_MM - 5]).max() < 0.5
    assert made.decibel.max() > 3  # the bright line
    strongest = np.unravel_index(np.argmax(np.abs(made.specular).sum(axis=0)), made.decibel.shape)
    assert made.specular[1][strongest] > 0  # it faces away from the probe


@pytest.mark.parametrize("seed", range(12))
def test_a_ligament_passes_beside_the_lesion_or_is_left_out(seed: int) -> None:
    made = fields()
    add_ligament(np.random.default_rng(seed), made, (CENTRE, RADIUS_MM))
    assert made.decibel[from_centre(made) < RADIUS_MM - 5].max() < 0.5
    free = fields()
    add_ligament(np.random.default_rng(seed), free, None)
    assert free.decibel.max() > 4 and free.attenuation.max() > 0.3


def test_fat_is_bright_and_dims_what_lies_behind() -> None:
    low, high = np.array([-10.0, 0.0, -3.0]), np.array([10.0, 30.0, 3.0])
    probe, settings = OPEN_SURGERY, PhantomSettings(gas_bubbles=0.0)
    lean, fatty = (make_tissue(np.random.default_rng(3), probe, low, high, [], settings, fat)[0] for fat in (0.0, 1.0))
    assert np.abs(fatty.scatter).mean() > 1.15 * np.abs(lean.scatter).mean()
    assert np.median(lean.attenuation) == pytest.approx(LIVER_ATTENUATION_DB_CM_MHZ, abs=0.02)
    assert np.median(fatty.attenuation) == pytest.approx(LIVER_ATTENUATION_DB_CM_MHZ + 0.25, abs=0.02)
