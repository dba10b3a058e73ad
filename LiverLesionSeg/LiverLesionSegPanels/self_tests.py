"""Self-tests of the module, in Slicer or on a stand-in for it: seconds, no network connection, no model."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from LiverLesionSegLib.geometry import grid_from_axes
from LiverLesionSegLib.host import Flow, FlowSettings
from LiverLesionSegLib.types import Box, Volume

from .texts import action_texts, sentences


def a_volume() -> Volume:
    """A dark ball of 20 mm in speckle, all of it seen."""
    grid = grid_from_axes((48, 48, 48), (-23.5, -23.5, -23.5), np.eye(3), 1.0)
    k, j, i = np.indices(grid.shape) - 23.5
    array = np.where(k**2 + j**2 + i**2 < 100.0, 40.0, 120.0) + np.random.default_rng(1).normal(0.0, 6.0, grid.shape)
    return Volume(np.clip(array, 1, 255).astype(np.uint8), grid, np.ones(grid.shape, np.float32))


class SelfTests(unittest.TestCase):
    """Every test makes a Flow of its own in the scene of the application."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear(False)
        self.folder = tempfile.TemporaryDirectory()
        self.flow = Flow(slicer.mrmlScene, FlowSettings(automatic=False, preload=False))
        self.flow.set_folder(self.folder.name)

    def tearDown(self) -> None:
        self.flow.close()
        self.folder.cleanup()
        slicer.mrmlScene.Clear(False)

    def until(self, what: Any, seconds: float = 120.0) -> None:
        """Tick until something holds."""
        self.assertTrue(self.flow.wait(what, seconds), [state.said for state in self.flow.states().values()])

    def test_starts_with_nothing_and_says_what_to_do(self) -> None:
        self.assertEqual(self.flow.next(), ("connect", "connect"))
        self.assertFalse(self.flow.act("accept"))
        self.assertIsNotNone(self.flow.problem)

    def test_from_a_volume_to_an_accepted_lesion(self) -> None:
        flow = self.flow
        flow.use_volume(a_volume(), "self test")
        self.assertEqual(flow.next(), ("box", "place_box"))
        flow.boxing.set(Box(np.zeros(3), np.eye(3), np.full(3, 30.0)))
        self.until(lambda: flow.boxing.box is not None)
        self.assertTrue(flow.act("grow"), flow.problem)
        self.until(lambda: not flow.segmenting.running)
        self.assertIsNotNone(flow.segmenting.result, flow.states()["segment"])
        self.assertAlmostEqual(flow.segmenting.result.mask.volume_ml, 4.19, delta=2.1)
        self.assertTrue(flow.act("accept"), flow.problem)
        self.until(lambda: flow.reviewing.accepted is not None)
        self.assertTrue((Path(self.folder.name) / "cases.csv").exists())

    def test_a_closed_scene_takes_everything_along(self) -> None:
        self.flow.use_volume(a_volume(), "self test")
        slicer.mrmlScene.Clear(False)
        self.flow.scene_closed()
        self.assertIsNone(self.flow.boxing.volume)
        self.assertEqual(self.flow.next()[0], "connect")

    def test_every_state_and_action_has_its_words(self) -> None:
        for state in self.flow.states().values():
            self.assertIn(state.said.code, sentences())
            self.assertIn(state.action, action_texts())
