"""A lesion as the network would have found it in a small volume, on a grid turned against it; for tests that need no network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from LiverLesionSegLib.geometry import ras_from_kji
from LiverLesionSegLib.host.segmenting import LesionResult
from LiverLesionSegLib.scene.lesion import update_segmentation_node
from LiverLesionSegLib.segmentation import surface
from LiverLesionSegLib.types import Box, Grid, Mask, Probability, Threshold, Volume

RADIUS_MM = 7.0
ANGLE = np.radians(20.0)
TURNED = np.array([[np.cos(ANGLE), -np.sin(ANGLE), 0.0], [np.sin(ANGLE), np.cos(ANGLE), 0.0], [0.0, 0.0, 1.0]])
PLACE = np.array([31.0, -42.0, 17.0])
TUNED = Threshold(0.41, "model-1", "torch", "on a validation split", ("a", "b"), 0.02)


def turned_grid(shape, spacing):
    """A grid about PLACE on the box's axes."""
    matrix = np.eye(4)
    matrix[:3, :3] = TURNED * spacing
    matrix[:3, 3] = PLACE - matrix[:3, :3] @ [(n - 1) / 2 for n in shape[::-1]]
    return Grid(shape, matrix)


def a_volume():
    grid = Grid((60, 60, 60), np.array([[1.0, 0, 0, PLACE[0] - 30], [0, 1.0, 0, PLACE[1] - 30], [0, 0, 1.0, PLACE[2] - 30], [0, 0, 0, 1.0]]))
    array = np.random.default_rng(3).integers(60, 120, grid.shape).astype(np.uint8)
    return Volume(array, grid, np.ones(grid.shape, np.float32), "case.igs.mha")


def a_lesion(volume):
    grid = turned_grid((40, 44, 48), 0.6)
    far = np.linalg.norm(ras_from_kji(grid, np.argwhere(np.ones(grid.shape))) - PLACE, axis=1).reshape(grid.shape)
    mask = Mask(far < RADIUS_MM, grid, {"method": "nnunet", "threshold": 0.52})
    probability = Probability(np.clip(1.0 - far / 20, 0, 1).astype(np.float32), grid, "model-1", "torch", "cpu")
    return LesionResult(
        "nnunet", mask, surface(mask), Box(PLACE, TURNED, np.array([20.0, 21.0, 22.0])), volume, probability, 0.52, TUNED, "cpu", "The model",
        "model-1", 0.97, {"box to lesion": 1.5}, ("one thing was assumed",),
    )  # fmt: skip


def found(flow, patient="A", **more):
    """A volume with a lesion in it, as the network would have found it."""
    flow.name_patient(patient)
    volume = a_volume()
    flow.use_volume(volume, "sweep 7")
    lesion = replace(a_lesion(volume), **more)
    flow.boxing.set(lesion.box)
    flow._tried = lesion.box
    flow.segmenting.wanted = lesion.value
    flow.segmenting._show(lesion)
    node = flow.nodes.new_seeds()
    node.AddControlPoint(*PLACE)
    return lesion


def correct(flow, lesion, voxels=25):
    """Take some voxels away, as the segment editor does; the mask that is left."""
    array = lesion.mask.array.copy()
    array[tuple(np.argwhere(array)[:voxels].T)] = False
    update_segmentation_node(flow.nodes.current().segmentation, Mask(array, lesion.mask.grid, lesion.mask.provenance))
    return array


def accept(flow):
    assert flow.act("accept"), flow.problem
    assert flow.wait(lambda: not flow.background.busy("accept"), 60.0)
    assert flow.reviewing.accepted is not None, flow.states()["review"]
