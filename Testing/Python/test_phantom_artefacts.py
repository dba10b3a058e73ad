"""Shadow, enhancement, interfaces, reverberation, gas and vessels of the simulator, each against what it was made to do."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from LiverLesionSegLib.phantom.imaging import MIRROR_GAIN, REVERBERATION, Imager
from LiverLesionSegLib.phantom.probe import LIVER_ATTENUATION_DB_CM_MHZ, OPEN_SURGERY, image_geometry
from LiverLesionSegLib.phantom.surroundings import GAS_ATTENUATION, Fields, add_gas
from LiverLesionSegLib.phantom.tissue import Tissue, homogeneous
from LiverLesionSegLib.phantom.vessels import Tree, distance_field, grow_tree

DETAIL = 0.7
LOW, HIGH = np.array([-55.0, -6.0, -4.0]), np.array([55.0, 62.0, 4.0])
PROBE = replace(OPEN_SURGERY, noise_db=-200.0, ringing_db=-200.0, contact_db=0.0)


@pytest.fixture(scope="module")
def even() -> Tissue:
    return homogeneous(np.random.default_rng(1), LOW, HIGH, np.asarray(PROBE.voxel_mm) / DETAIL)


@pytest.fixture(scope="module")
def imager(even: Tissue) -> Imager:
    return Imager(PROBE, image_geometry(PROBE, (320, 240)), even, DETAIL, 0.0, np.random.default_rng(2))


def seen(imager: Imager, tissue: Tissue) -> tuple[np.ndarray, np.ndarray]:
    """(depths, beams) amplitude of one frame, the same speckle for the same scatterers, and the depths in mm."""
    there = copy.copy(imager)
    there.tissue = tissue
    return there.envelope(np.eye(4), np.random.default_rng(3)), imager.depth


def layer(tissue: Tissue, top_mm: float, bottom_mm: float) -> tuple[slice, slice, slice]:
    """Voxels between two depths below the middle of the face."""
    rows = slice(*(round((edge - tissue.origin[1]) / tissue.voxel[1]) for edge in (top_mm, bottom_mm)))
    return slice(None), rows, slice(None)


def middle_db(changed: np.ndarray, plain: np.ndarray, rows: np.ndarray) -> float:
    """How much stronger the middle beams are at these depths, dB."""
    centre = slice(changed.shape[1] // 2 - 8, changed.shape[1] // 2 + 8)
    return float(10 * np.log10(np.mean(changed[rows, centre] ** 2) / np.mean(plain[rows, centre] ** 2)))


@pytest.mark.parametrize("added", [1.5, -0.4])
def test_shadow_and_enhancement_follow_the_attenuation(even: Tissue, imager: Imager, added: float) -> None:
    """Behind 8 mm that attenuate by `added` dB/cm/MHz more, echoes are down by twice the way's loss: there and back."""
    attenuation = even.attenuation.copy()
    attenuation[layer(even, 15.0, 23.0)] += np.float32(added)
    plain, depth = seen(imager, even)
    changed, _ = seen(imager, replace(even, attenuation=attenuation))
    assert middle_db(changed, plain, depth < 14) == pytest.approx(0.0, abs=0.1)
    behind = middle_db(changed, plain, (depth > 26) & (depth < 45))
    assert behind == pytest.approx(-2 * added * PROBE.frequency_mhz * 0.8, rel=0.12)


def interface(even: Tissue, depth_mm: float, strength: float = 200.0) -> Tissue:
    """A smooth interface across the depth, in tissue that scatters next to nothing."""
    specular = np.zeros_like(even.specular)
    specular[1][layer(even, depth_mm, depth_mm + 0.4)] = strength
    return replace(even, scatter=even.scatter * np.float32(1e-4), specular=specular)


@pytest.mark.parametrize("tilt_deg", [0.0, 33.0, 80.0])
def test_an_interface_is_bright_only_where_the_beam_meets_it_at_a_right_angle(imager: Imager, tilt_deg: float) -> None:
    """Cosine to the fourth of the angle between the middle beam and the normal, which lies along the depth."""
    c, s = np.cos(np.deg2rad(tilt_deg)), np.sin(np.deg2rad(tilt_deg))
    pose = np.eye(4)
    pose[1:3, 1:3] = [[c, -s], [s, c]]
    none = np.zeros((len(imager.depth), imager._x.shape[1]), np.float32)
    echo = imager._mirror_echo(pose, [none, none + 2, none])
    middle = echo[:, echo.shape[1] // 2 - 1 : echo.shape[1] // 2 + 1]
    np.testing.assert_allclose(middle, MIRROR_GAIN * 2 * c**4, rtol=5e-3, atol=1e-6)


def test_an_interface_is_seen_again_at_twice_its_depth(even: Tissue, imager: Imager) -> None:
    image, depth = seen(imager, interface(even, 18.0))
    beam = image[:, image.shape[1] // 2]
    first, second, between = (float(beam[(depth > low) & (depth < high)].max()) for low, high in ((17, 20), (35, 38.5), (24, 31)))
    assert second > 10 * between
    assert second / first == pytest.approx(float(REVERBERATION), rel=0.5)


def test_gas_rings_and_leaves_a_shadow(even: Tissue, imager: Imager) -> None:
    """Right behind a bubble its tail is brighter than tissue; deeper there is less than before."""
    attenuation = even.attenuation.copy()
    rows = layer(even, 10.0, 11.2)
    half = slice(even.attenuation.shape[2] // 2 - 12, even.attenuation.shape[2] // 2 + 12)
    attenuation[rows[0], rows[1], half] += np.float32(GAS_ATTENUATION)
    plain, depth = seen(imager, even)
    changed, _ = seen(imager, replace(even, attenuation=attenuation))
    assert middle_db(changed, plain, (depth > 40) & (depth < 50)) < -10
    assert middle_db(changed, plain, (depth > 11) & (depth < 15)) > middle_db(changed, plain, (depth > 30) & (depth < 35)) + 6


def test_bubbles_stay_beside_what_they_would_hide() -> None:
    shape = (40, 120, 120)
    fields = Fields(
        np.zeros(shape, np.float32), np.full(shape, LIVER_ATTENUATION_DB_CM_MHZ, np.float32), np.zeros((3, *shape), np.float16),
        np.array([-30.0, 0.0, -10.0]), np.array([0.5, 0.4, 0.5]),
    )  # fmt: skip
    keep = (np.array([5.0, 20.0, 0.0]), 8.0)
    placed = sum(add_gas(np.random.default_rng(seed), fields, PROBE, keep) for seed in range(6))
    assert placed > 0
    z, _, x = np.nonzero(fields.attenuation > LIVER_ATTENUATION_DB_CM_MHZ + 1)
    across = np.hypot(fields.origin[0] + x * 0.5 - 5.0, fields.origin[2] + z * 0.5)
    assert len(x) > 0 and across.min() > 8.0 - 0.7 - 0.6  # a bubble's own radius and edge


def test_branches_follow_murrays_law() -> None:
    tree = grow_tree(np.random.default_rng(4), np.zeros(3), np.array([0.0, 30.0, 0.0]), 3.0, np.full(3, -40.0), np.full(3, 60.0), True, 4.0)
    starts = tree.segments[:, :3]
    forks = 0
    for row in tree.segments:
        children = tree.segments[np.isclose(starts, row[3:6]).all(axis=1)]
        if len(children) == 2:
            forks += 1
            assert (children[:, 6] ** 3).sum() == pytest.approx(row[7] ** 3, rel=1e-6)
    assert forks > 5
    assert (tree.segments[:, 6:] > 0).all() and (np.diff(tree.segments[:, 6:]) <= 0).all()


def test_distance_of_a_straight_vessel() -> None:
    tube = Tree(np.array([[-8.0, 0.0, 0.0, 8.0, 0.0, 0.0, 2.0, 2.0]]), True)
    origin, voxel = np.array([-5.0, -4.0, -4.0]), np.array([0.5, 0.5, 0.5])
    distance, normal = distance_field([tube], (17, 17, 21), origin, voxel, 1.6)
    z, y = (origin[n] + np.arange(17) * 0.5 for n in (2, 1))
    away = np.hypot(z[:, None], y[None, :])[:, :, None] - 2.0
    np.testing.assert_allclose(distance, np.broadcast_to(np.minimum(away, 1.6), distance.shape), atol=1e-5)
    near = (away[:, :, 0] > 0) & (away[:, :, 0] < 1.5)
    np.testing.assert_allclose(np.linalg.norm(normal.astype(np.float64), axis=0)[near], 1.0, atol=2e-3)
    assert (np.abs(normal[0][near]) < 1e-6).all()


@pytest.mark.parametrize("portal", [True, False])
def test_vessels_are_dark_and_only_portal_branches_have_bright_walls(portal: bool) -> None:
    from LiverLesionSegLib.phantom import tissue as making

    shape = (21, 41, 41)
    voxel = np.array([0.25, 0.25, 0.5])
    fields = Fields(
        np.zeros(shape, np.float32), np.full(shape, 0.5, np.float32), np.zeros((3, *shape), np.float16), np.array([-5.0, -5.0, -5.0]), voxel
    )
    making._add_vessels(fields, [Tree(np.array([[0.0, 0.0, -20.0, 0.0, 0.0, 20.0, 2.0, 2.0]]), portal)])
    row = fields.decibel[10, 20]
    x = fields.origin[0] + np.arange(41) * 0.25
    assert (row[np.abs(x) < 1.4] < making.BLOOD_DB + 1).all()
    assert fields.attenuation[10, 20, 20] == pytest.approx(making.BLOOD_ATTENUATION)
    wall = row[(np.abs(x) > 2.3) & (np.abs(x) < 2.6)].max()
    assert (wall > 4.0) if portal else (wall < 0.5)
    assert np.abs(fields.specular[0, 10, 20]).max() > (3.0 if portal else 0.5)
