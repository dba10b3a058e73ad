"""Text and scale bars of the pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._views import Content

WHITE = (0.93, 0.95, 0.97)
GREY = (0.62, 0.68, 0.74)
CAPTION_HEIGHT = 0.085
"""Fraction of the picture's height."""


def text_actor(text: str, size: float, color: tuple[float, float, float], x: float, y: float, *, bold: bool = False, align: str = "left") -> Any:
    """A line of text at (x, y), fractions of its view, vertically centred, on a dark ground that keeps it readable; size in pixels."""
    import vtk

    actor = vtk.vtkTextActor()
    actor.SetInput(f" {text} ")  # the ground reaches a little beyond the letters
    style = actor.GetTextProperty()
    style.SetFontFamilyToArial()
    style.SetFontSize(round(size))
    style.SetColor(*color)
    style.SetBold(bold)
    style.SetBackgroundColor(0.03, 0.04, 0.055)
    style.SetBackgroundOpacity(0.62)
    {"left": style.SetJustificationToLeft, "right": style.SetJustificationToRight, "centre": style.SetJustificationToCentered}[align]()
    style.SetVerticalJustificationToCentered()
    place = actor.GetPositionCoordinate()
    place.SetCoordinateSystemToNormalizedViewport()
    place.SetValue(x, y)
    return actor


def bar_actor(x: float, y: float, length: float, color: tuple[float, float, float], width: float) -> Any:
    """A horizontal line from (x, y) over `length`, fractions of its view."""
    import vtk

    line = vtk.vtkLineSource()
    line.SetPoint1(x, y, 0)
    line.SetPoint2(x + length, y, 0)
    coordinate = vtk.vtkCoordinate()
    coordinate.SetCoordinateSystemToNormalizedViewport()
    mapper = vtk.vtkPolyDataMapper2D()
    mapper.SetInputConnection(line.GetOutputPort())
    mapper.SetTransformCoordinate(coordinate)
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*color)
    actor.GetProperty().SetLineWidth(width)
    return actor


def add_scale_bar(renderer: Any, mm_per_width: float, scale: float, size_px: tuple[float, float], note: str = "") -> None:
    """A bar of a round length in the lower right corner. mm_per_width: what the view is wide at the depth of interest, mm."""
    length = next(mm for mm in (100, 50, 20, 10, 5, 2, 1) if mm <= max(1.0, mm_per_width * 0.22))
    fraction = length / mm_per_width
    right, y = 1 - 18 * scale / size_px[0], 20 * scale / size_px[1]
    renderer.AddViewProp(text_actor(f"{length} mm{note}", 17 * scale, WHITE, right, y + 20 * scale / size_px[1], align="right"))
    renderer.AddViewProp(bar_actor(right - fraction, y, fraction, WHITE, 3 * scale))


def add_legend(renderer: Any, entries: list[tuple[str, tuple[float, float, float]]], scale: float, size_px: tuple[float, float]) -> None:
    """Coloured bars with what they stand for, in the upper left corner."""
    width, height = size_px
    for n, (text, color) in enumerate(entries):
        y = 1 - (28 + 31 * n) * scale / height
        renderer.AddViewProp(bar_actor(20 * scale / width, y, 34 * scale / width, color, 6 * scale))
        renderer.AddViewProp(text_actor(text, 19 * scale, WHITE, 66 * scale / width, y))


def add_caption(window: Any, content: Content, scale: float) -> None:
    """The strip below the views: what the lesion measures, how it was found, and what this software is not."""
    import vtk

    strip = vtk.vtkRenderer()
    strip.SetViewport(0, 0, 1, CAPTION_HEIGHT)
    strip.SetBackground(0.035, 0.045, 0.06)
    strip.InteractiveOff()
    window.AddRenderer(strip)
    figures = []
    if content.volume_ml is not None:
        figures.append(f"Lesion {content.volume_ml:.1f} mL")
    if content.diameter_mm is not None:
        figures.append(f"largest diameter {content.diameter_mm:.0f} mm")
    strip.AddViewProp(text_actor(",  ".join(figures) or "No lesion segmented", 30 * scale, WHITE, 0.015, 0.66, bold=True))
    strip.AddViewProp(text_actor(content.method, 19 * scale, GREY, 0.015, 0.25))
    strip.AddViewProp(text_actor("Research software, not a medical device", 20 * scale, (0.98, 0.80, 0.42), 0.985, 0.66, align="right"))
    strip.AddViewProp(text_actor(content.identity, 19 * scale, GREY, 0.985, 0.25, align="right"))
