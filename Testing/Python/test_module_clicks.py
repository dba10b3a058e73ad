"""What is placed by clicks in the views: a box by two, seeds by any number. Half of a box is none, and placing ends."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from conftest import PROJECT

slicer = pytest.importorskip("slicer")
pytest.importorskip("PySide6")
sys.path.insert(0, str(PROJECT / "Testing"))

MODULE = PROJECT / "LiverLesionSeg" / "LiverLesionSeg.py"
PATIENCE_S = 120.0
LOOKED_S = 0.5


@pytest.fixture
def widget(desktop, tmp_path):
    """The module with a volume in it, and the box step before it."""
    made = desktop.load_module(MODULE)
    made._parameters.folder, made._parameters.automatic = str(tmp_path / "sweeps"), False
    desktop.select("LiverLesionSeg")
    from LiverLesionSegPanels.self_tests import a_volume

    made.logic.flow.use_volume(a_volume(), "case")
    desktop.show(900, 800)
    desktop.process(LOOKED_S)
    yield made
    assert desktop.slot_errors == []
    desktop.unload()
    desktop.scene.Clear(False)
    assert desktop.leaks() == []


def interaction(desktop):
    return desktop.scene.GetFirstNodeByClass("vtkMRMLInteractionNode")


def placing(desktop):
    return interaction(desktop).GetCurrentInteractionMode() == slicer.vtkMRMLInteractionNode.Place


def active_node(desktop):
    return desktop.scene.GetNodeByID(desktop.scene.GetFirstNodeByClass("vtkMRMLSelectionNode").GetActivePlaceNodeID())


def mouse(desktop, position, status):
    """What Slicer's markups widget does with a mouse at a place: the last point that is not defined goes there."""
    node, last = active_node(desktop), active_node(desktop).GetNumberOfControlPoints() - 1
    following = last if last >= 0 and node.GetNthControlPointPositionStatus(last) == node.PositionPreview else -1
    event = slicer.vtkMRMLInteractionEventData()
    event.SetWorldPosition([float(p) for p in position])
    node.GetDisplayNode().UpdateActiveControlPointWorld(following, event, [1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0], "", "", status)
    return node


def click_view(desktop, *position):
    """A click in a view, and the end of the place mode where the node is complete by it, as in Slicer."""
    mouse(desktop, position, slicer.vtkMRMLMarkupsNode.PositionPreview)
    node = mouse(desktop, position, slicer.vtkMRMLMarkupsNode.PositionDefined)
    mode = interaction(desktop)
    if node.GetControlPointPlacementComplete() and node.GetRequiredNumberOfControlPoints() > 0 and not mode.GetPlaceModePersistence():
        mode.SetCurrentInteractionMode(mode.ViewTransform)


def move_mouse(desktop, *position):
    mouse(desktop, position, slicer.vtkMRMLMarkupsNode.PositionPreview)


def leave_by_right_click(desktop):
    """Slicer's markups widget leaves the mode and takes the point that follows the mouse away."""
    interaction(desktop).SwitchToViewTransformMode()
    node = active_node(desktop)
    for n in reversed(range(node.GetNumberOfControlPoints() if node is not None else 0)):
        if node.GetNthControlPointPositionStatus(n) == node.PositionPreview:
            node.RemoveNthControlPoint(n)


def test_two_clicks_place_a_box_and_between_them_there_is_none(desktop, widget):
    from host import click

    ui, flow = widget.ui, widget.logic.flow
    widget._parameters.automatic = True
    click(ui.clickBoxButton)
    desktop.process(LOOKED_S)
    assert flow.next() == ("box", "") and not ui.boxStep.collapsed
    assert "first corner" in ui.headline.text and ui.nextButton.text == "Click in a view"
    click_view(desktop, -12, -13, -14)
    move_mouse(desktop, 3, 4, 5)
    desktop.process(1.2)  # longer than a box has to be still to be segmented by itself
    assert flow.boxing.box is None and flow._tried is None and flow._worker is None
    assert "opposite corner" in ui.headline.text and not ui.boxStep.collapsed
    click_view(desktop, 12, 13, 14)
    widget._parameters.automatic = False
    assert desktop.process(PATIENCE_S, until=lambda: flow.boxing.box is not None)
    assert np.allclose(flow.boxing.box.size, [24, 26, 28]) and np.allclose(flow.boxing.box.centre, 0)
    assert not placing(desktop) and flow.next() == ("segment", "segment")
    desktop.process(LOOKED_S)
    assert "was seen" in ui.boxSentence.text and not ui.segmentStep.collapsed


def test_two_clicks_in_a_tilted_slice_give_a_box_with_a_thickness(desktop, widget):
    from host import click

    click(widget.ui.clickBoxButton)
    click_view(desktop, -10, -12, 0.0)
    click_view(desktop, 10, 12, 0.2)
    assert desktop.process(PATIENCE_S, until=lambda: widget.logic.flow.boxing.box is not None)
    assert np.allclose(widget.logic.flow.boxing.box.size, [20, 24, 20])


@pytest.mark.parametrize("corners", [0, 1])
def test_leaving_the_place_mode_too_early_is_said_and_leaves_no_half_box(desktop, widget, corners):
    from host import click

    ui, flow = widget.ui, widget.logic.flow
    click(ui.clickBoxButton)
    if corners:
        click_view(desktop, -12, -13, -14)
        move_mouse(desktop, 3, 4, 5)
    leave_by_right_click(desktop)
    desktop.process(LOOKED_S)
    assert flow.boxing.box is None and flow.nodes.roi() is None
    assert desktop.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 0
    assert "No box was placed" in ui.headline.text and ui.nextButton.text == "Two clicks again" and not ui.boxStep.collapsed
    click(ui.nextButton)  # placing is offered again
    assert placing(desktop)
    click_view(desktop, -12, -13, -14)
    click_view(desktop, 12, 13, 14)
    assert desktop.process(PATIENCE_S, until=lambda: flow.boxing.box is not None)


@pytest.mark.parametrize("by", ["button", "key"])
def test_cancel_while_placing_brings_the_box_of_before_back(desktop, widget, by):
    from host import click, press, unfold

    ui, flow = widget.ui, widget.logic.flow
    click(ui.middleBoxButton)
    before = flow.boxing.box
    unfold(widget, "box")
    click(ui.clickBoxButton)
    click_view(desktop, -12, -13, -14)
    desktop.process(LOOKED_S)
    assert flow.boxing.box is None and ui.progressRow.visible and not ui.progressBar.visible
    if by == "button":
        click(ui.cancelButton)
    else:
        press(ui.tabs, "Esc")
    desktop.process(LOOKED_S)
    assert not placing(desktop)
    assert np.allclose(flow.boxing.box.centre, before.centre) and np.allclose(flow.boxing.box.size, before.size)
    assert "the one before is back" in ui.boxSentence.text
    assert desktop.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 1


def test_another_volume_another_module_or_a_box_put_otherwise_ends_placing(desktop, widget):
    from host import click, unfold

    ui, flow = widget.ui, widget.logic.flow
    click(ui.clickBoxButton)
    click_view(desktop, -12, -13, -14)
    click(ui.middleBoxButton)
    assert not placing(desktop) and np.allclose(flow.boxing.box.size, 40.0)
    unfold(widget, "box")
    click(ui.clickBoxButton)
    desktop.select("")
    assert not placing(desktop) and not flow.boxing.placing
    desktop.select("LiverLesionSeg")
    flow.act("place_clicks")
    flow.use_volume(flow.boxing.volume, "another")
    assert not placing(desktop) and flow.states()["box"].said.code == "box.ready"
    flow.act("place_clicks")
    desktop.scene.Clear(False)
    desktop.process(LOOKED_S)
    assert not placing(desktop) and flow.states()["box"].said.code == "box.waiting"


def test_seeds_are_placed_counted_cleared_and_placing_ends_with_growing(desktop, widget):
    from host import click

    ui, flow = widget.ui, widget.logic.flow
    ui.boxSizeSlider.value = 30.0
    click(ui.middleBoxButton)
    desktop.process(LOOKED_S)
    assert not ui.clearSeedsButton.enabled
    click(ui.seedsButton)
    click_view(desktop, 1, 1, 1)
    click_view(desktop, 2, 1, 1)
    move_mouse(desktop, 30, 30, 30)  # the point that follows the mouse is no seed
    desktop.process(LOOKED_S)
    assert flow.seeding.count == 2 and "2 seeds" in ui.headline.text and ui.seedsButton.text == "Stop placing"
    assert ui.segmentStep.width < 400  # the panel of 430 pixels need not be scrolled sideways
    click(ui.clearSeedsButton)
    assert flow.seeding.count == 0 and placing(desktop)
    click_view(desktop, 0, 0, 0)
    move_mouse(desktop, 30, 30, 30)
    desktop.process(LOOKED_S)
    click(ui.growButton)
    assert not placing(desktop) and not interaction(desktop).GetPlaceModePersistence()
    assert desktop.process(PATIENCE_S, until=lambda: not flow.segmenting.running)
    assert flow.segmenting.result is not None and flow.segmenting.result.mask.volume_ml == pytest.approx(4.19, abs=2.1)
    assert ui.seedsButton.text == "Place seeds" and flow.seeding.count == 1


def test_seeds_end_with_the_step_the_button_the_tab_and_the_module(desktop, widget):
    from host import click, unfold

    ui, flow = widget.ui, widget.logic.flow
    click(ui.middleBoxButton)
    desktop.process(LOOKED_S)

    def leave_step():
        ui.segmentStep.collapsed = True

    def leave_tab():
        ui.tabs.setCurrentIndex(1)

    for leave in (lambda: click(ui.seedsButton), leave_step, leave_tab, lambda: desktop.select(""), lambda: flow.act("place_box")):
        desktop.select("LiverLesionSeg")
        ui.tabs.setCurrentIndex(0)
        unfold(widget, "segment")
        click(ui.seedsButton)
        assert placing(desktop)
        leave()
        desktop.process(LOOKED_S)
        assert not placing(desktop) and not interaction(desktop).GetPlaceModePersistence()
