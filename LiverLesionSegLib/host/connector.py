"""SlicerOpenIGTLink's connector beside our receiver: the tools' transforms as nodes for other modules, such as pivot calibration."""

from __future__ import annotations

from typing import Any

CONNECTOR = "LiverLesionSeg connector"


def available() -> bool:
    """Whether the extension SlicerOpenIGTLink is there."""
    import slicer

    return hasattr(slicer, "vtkMRMLIGTLConnectorNode")


def connect(scene: Any, host: str, port: int) -> Any | None:
    """Start the connector node; None where the extension is missing. One that is there is used again."""
    if not available():
        return None
    node = scene.GetFirstNodeByName(CONNECTOR) or scene.AddNewNodeByClass("vtkMRMLIGTLConnectorNode", CONNECTOR)
    node.Stop()
    node.SetTypeClient(host, port)
    node.SetSaveWithScene(False)
    node.Start()
    return node


def disconnect(scene: Any) -> None:
    """Stop the node and take it away."""
    node = scene.GetFirstNodeByName(CONNECTOR)
    if node is not None:
        node.Stop()
        scene.RemoveNode(node)
