"""The module's layouts in Slicer's own layout logic."""

from __future__ import annotations

import pytest

from LiverLesionSegLib.errors import SceneError
from LiverLesionSegLib.scene import headless_scene, register_layouts, show_layout
from LiverLesionSegLib.scene.layouts import LAYOUTS, LIVE_SLICE

slicer = pytest.importorskip("slicer", reason="slicer (the slicer-core wheel) is not installed")


@pytest.fixture
def scene():
    with headless_scene() as world:
        yield world.scene


def test_slicers_own_layout_logic_reads_every_layout(scene):
    logic = slicer.vtkMRMLLayoutLogic()
    logic.SetMRMLScene(scene)
    node = logic.GetLayoutNode()
    register_layouts(node)
    register_layouts(node)
    assert show_layout(node, "navigation") != LAYOUTS["navigation"][0]
    shown = {"navigation": {"1", LIVE_SLICE}, "review": {"1", "Red", "Green", "Yellow"}, "sweep": {"1", "Red", LIVE_SLICE}}
    for name, (number, _) in LAYOUTS.items():
        show_layout(node, name)
        assert node.GetViewArrangement() == number
        views = logic.GetViewNodes()
        assert {views.GetItemAsObject(n).GetLayoutName() for n in range(views.GetNumberOfItems())} == shown[name]
    with pytest.raises(SceneError, match="choose navigation or review or sweep"):
        show_layout(node, "sideways")
    logic.SetMRMLScene(None)
