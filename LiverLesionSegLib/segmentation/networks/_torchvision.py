"""torchvision's Python parts where its compiled ones do not fit the torch that is installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept: list[Any] = []


def import_torchvision() -> None:
    """Imports torchvision, beside a torch of another build too.

    PyPI's torchvision for Linux is made for CUDA. Beside a torch for the CPU its library of operators does not load, and its import then fails for
    two of them that only detection needs ("operator torchvision::nms does not exist"). Declaring the two, without any code behind them, lets
    the rest, which is Python, be used; calling one of them still fails.
    """
    import torch

    try:
        import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        for operator in _OPERATORS:
            library.define(operator)
        # A library that is forgotten takes its declarations with it.
        _kept.append(library)
        import_module("torchvision")
