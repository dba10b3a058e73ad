"""A picture of the navigation scene, drawn by VTK with no window: a 3D view and three slices, with the figures that belong to them."""

from __future__ import annotations

import functools
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OutputError
from ..files.atomic import whole_file
from . import _labels, _views
from .build import SceneNodes, find_nodes

DEBIAN_PACKAGES = ("libegl1", "libgl1-mesa-dri")
"""What VTK's offscreen rendering needs of Debian or Ubuntu; libegl-mesa0 comes along with libegl1."""

_TRIAL = """
import sys, vtk
vtk.vtkObject.GlobalWarningDisplayOff()
window = vtk.vtkEGLRenderWindow() if sys.argv[1] == "egl" else vtk.vtkRenderWindow()
window.SetOffScreenRendering(1)
window.SetSize(8, 8)
renderer = vtk.vtkRenderer()
renderer.SetBackground(1, 0, 0)
window.AddRenderer(renderer)
window.Render()
grab = vtk.vtkWindowToImageFilter()
grab.SetInput(window)
grab.ReadFrontBufferOff()
grab.Update()
assert grab.GetOutput().GetScalarRange() == (255.0, 255.0) or grab.GetOutput().GetScalarRange() == (0.0, 255.0)
print(window.GetClassName())
"""


@dataclass(frozen=True)
class RenderSettings:
    """How the picture looks.

    size_px: width and height. layout: "navigation" (a large 3D view, three slices beside it) or "four-up" (2 x 2, as Slicer has it).
    slice_axes: "ras" for axial, coronal and sagittal slices, "box" for slices along the sides of the box.
    margin_slices: whether the margin is drawn on the slices too. oversampling: drawn this many times larger, then averaged (smooth edges).
    """

    size_px: tuple[int, int] = (1600, 1200)
    layout: str = "navigation"
    slice_axes: str = "ras"
    margin_slices: bool = True
    oversampling: int = 2


@dataclass(frozen=True)
class Picture:
    """What was drawn. lesion_px: view -> (x, y) where the lesion's centre lies in it, pixels from the top left.

    mm_per_px: the scale of the slices. volume_ml: of the mask; diameter_mm: the lesion's largest.
    """

    path: Path
    size_px: tuple[int, int]
    lesion_px: dict[str, tuple[float, float]]
    mm_per_px: float
    volume_ml: float | None
    diameter_mm: float | None


def _kinds() -> tuple[str, ...]:
    import vtk

    # vtkRenderWindow finds EGL by itself too, but not without complaining first that there is no display.
    egl = sys.platform.startswith("linux") and hasattr(vtk, "vtkEGLRenderWindow")
    return ("egl", "native") if egl else ("native",)


@functools.cache
def _working() -> tuple[str, str]:
    """(kind, class name) of the first window that draws, tried in another process, because VTK crashes where system libraries are missing."""
    for kind in _kinds():
        try:
            done = subprocess.run([sys.executable, "-c", _TRIAL, kind], capture_output=True, text=True, timeout=120, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OutputError(f"No picture can be drawn here: VTK could not be tried ({error}); start Python again.") from error
        if done.returncode == 0 and done.stdout.strip():
            return kind, done.stdout.strip().splitlines()[-1]
    packages = f"on Debian or Ubuntu: apt-get install {' '.join(DEBIAN_PACKAGES)}"
    todo = packages if sys.platform.startswith("linux") else "install a graphics driver with OpenGL 3.2"
    raise OutputError(f"No picture can be drawn here: VTK finds no OpenGL for offscreen rendering; {todo}.")


def check_offscreen() -> str:
    """The class of the VTK window that draws offscreen here. Raises OutputError, which names the packages to install."""
    from .headless import in_desktop

    return "vtkRenderWindow" if in_desktop() else _working()[1]


def new_window(size: tuple[int, int]) -> Any:
    """A window of this size that draws without a screen."""
    import vtk

    from .headless import in_desktop

    window = vtk.vtkEGLRenderWindow() if not in_desktop() and _working()[0] == "egl" else vtk.vtkRenderWindow()
    window.SetOffScreenRendering(True)
    window.SetMultiSamples(0)
    window.SetAlphaBitPlanes(False)
    window.SetSize(*size)
    return window


def render_scene(nodes: SceneNodes | Any, path: Path, settings: RenderSettings | None = None) -> Picture:
    """Draw a sweep's scene (its SceneNodes, or a scene with one current sweep) to the PNG `path`.

    Everything is drawn where its node lies in the world: lesion, margin, box, the image plane with the reconstructed volume, the probe.
    A scene without a lesion shows the volume alone. Raises OutputError when nothing can be drawn or written, SceneError without a volume.
    """
    settings = settings or RenderSettings()
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise OutputError(f"{path}: pictures are written as .png; give the file that ending.")
    if settings.layout not in _views.LAYOUTS:
        raise OutputError(f"There is no layout {settings.layout}; choose {' or '.join(_views.LAYOUTS)}.")
    check_offscreen()
    if not isinstance(nodes, SceneNodes):
        nodes = find_nodes(nodes)
    content = _views.Content.of(nodes)
    width, height = settings.size_px
    window = new_window((width * settings.oversampling, height * settings.oversampling))
    scale = settings.oversampling * height / 1200
    views = _views.add_views(window, content, settings.layout, settings.slice_axes, settings.margin_slices, scale)
    _labels.add_caption(window, content, scale)
    _views.add_markers(window, views, content, scale)
    lesion_px = {view.name: view.to_pixels(content.target, (width, height)) for view in views}
    _write(window, path, settings)
    window.Finalize()
    return Picture(path, settings.size_px, lesion_px, views[1].mm_per_px((width, height)), content.volume_ml, content.diameter_mm)


def _write(window: Any, path: Path, settings: RenderSettings) -> None:
    import vtk
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy

    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.SetInputBufferTypeToRGB()
    grab.ReadFrontBufferOff()
    grab.ShouldRerenderOff()
    grab.Update()
    width, height = settings.size_px
    factor = settings.oversampling
    large = vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars())
    if large.size != width * height * factor**2 * 3:
        raise OutputError(f"{path}: the graphics driver gave a picture of another size; choose a smaller size_px than {width} x {height}.")
    summed = large.reshape(height, factor, width, factor, 3).sum(axis=(1, 3), dtype=np.uint16)
    image = vtk.vtkImageData()
    image.SetDimensions(width, height, 1)
    image.GetPointData().SetScalars(numpy_to_vtk((summed // factor**2).astype(np.uint8).reshape(-1, 3), deep=True))
    with whole_file(path) as temporary:
        writer = vtk.vtkPNGWriter()
        writer.SetInputData(image)
        writer.SetFileName(str(temporary))
        writer.Write()
        if writer.GetErrorCode() or not temporary.is_file():
            raise OutputError(f"{path}: could not be written; free some space or choose another folder.")
