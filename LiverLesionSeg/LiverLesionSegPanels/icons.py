"""The buttons' own small pictures, from Resources/Icons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

ICONS = {
    "acceptButton": "accept",
    "acceptProposalButton": "box-proposed",
    "cancelButton": "cancel",
    "cancelStudyButton": "cancel",
    "clearSeedsButton": "seeds-clear",
    "clickBoxButton": "box-clicks",
    "confirmButton": "confirm",
    "connectButton": "connect",
    "detailsButton": "details",
    "discardButton": "discard",
    "disconnectButton": "disconnect",
    "doctorButton": "check",
    "editButton": "edit",
    "evaluateButton": "evaluate",
    "exportButton": "export",
    "growButton": "grow",
    "installButton": "install",
    "layoutNavigationButton": "layout-navigation",
    "layoutReviewButton": "layout-review",
    "loadBrowserButton": "load",
    "loadFileButton": "load",
    "loadModelButton": "model",
    "loadSweepButton": "load",
    "middleBoxButton": "box-middle",
    "navigateButton": "navigate",
    "newPatientButton": "patient",
    "pivotButton": "pivot",
    "playButton": "play",
    "reportButton": "report",
    "sampleButton": "sample",
    "saveLogButton": "save",
    "seedsButton": "seeds",
    "segmentButton": "segment",
    "sweepButton": "record",
    "takeTipButton": "tip",
    "tunedButton": "tuned",
}
"""Button -> file name without its ending."""


def icon(resource_path: Callable[[str], str], name: str) -> Any:
    """The icon of that name; resource_path: the module widget's."""
    return qt.QIcon(resource_path(f"Icons/{name}.svg"))


def put_icons(ui: Any, resource_path: Callable[[str], str]) -> None:
    """Give every button its icon."""
    for button, name in ICONS.items():
        getattr(ui, button).setIcon(icon(resource_path, name))
