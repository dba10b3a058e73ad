"""What the pictures are drawn from: VTK actors in world coordinates, made of the scene's nodes. Opaque wherever possible, since software
rendering has no depth peeling to spare; the one translucent thing, the margin shell, is drawn last, its far side before its near one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..geometry import ras_to_ijk, transform_points
from ..types import FloatArray, Volume
from .nodes import Node, from_vtk_matrix, to_vtk_matrix
from .tools import node_to_world

Color = tuple[float, float, float]


def world_polydata(node: Node) -> Any:
    """A copy of a model node's polydata in world coordinates, mm."""
    return _transformed(node.GetPolyData(), node_to_world(node))


def _transformed(polydata: Any, matrix: FloatArray) -> Any:
    import vtk

    transform = vtk.vtkTransform()
    transform.SetMatrix(to_vtk_matrix(matrix))
    filtered = vtk.vtkTransformPolyDataFilter()
    filtered.SetInputData(polydata)
    filtered.SetTransform(transform)
    filtered.Update()
    return filtered.GetOutput()


def _actor(polydata: Any, color: Color) -> Any:
    import vtk

    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputData(polydata)
    mapper.ScalarVisibilityOff()
    actor = vtk.vtkActor()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*color)
    return actor


def body_actor(polydata: Any, color: Color, *, specular: float = 0.35) -> Any:
    """An opaque, lit surface."""
    actor = _actor(polydata, color)
    surface = actor.GetProperty()
    surface.SetInterpolationToPhong()
    surface.SetAmbient(0.22)
    surface.SetDiffuse(0.78)
    surface.SetSpecular(specular)
    surface.SetSpecularPower(28)
    return actor


def shell_actors(polydata: Any, color: Color, opacity: float) -> list[Any]:
    """A translucent closed surface as two actors, to be added in this order after everything opaque: the far side, then the near one."""
    actors = []
    for far in (True, False):
        actor = _actor(polydata, color)
        surface = actor.GetProperty()
        surface.SetOpacity(opacity * (0.9 if far else 0.55))
        surface.SetAmbient(0.35)
        surface.SetDiffuse(0.65)
        surface.SetSpecular(0.0 if far else 0.25)
        surface.SetSpecularPower(40)
        surface.SetFrontfaceCulling(far)
        surface.SetBackfaceCulling(not far)
        actors.append(actor)
    return actors


def silhouette_actor(polydata: Any, color: Color, camera: Any, width: float) -> Any:
    """The outline of a surface as `camera` sees it: gives a faint shell a clear edge."""
    import vtk

    outline = vtk.vtkPolyDataSilhouette()
    outline.SetInputData(polydata)
    outline.SetCamera(camera)
    outline.SetEnableFeatureAngle(False)
    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputConnection(outline.GetOutputPort())
    mapper.ScalarVisibilityOff()
    actor = vtk.vtkActor()
    actor.SetMapper(mapper)
    _as_line(actor, color, width)
    return actor


def _as_line(actor: Any, color: Color, width: float) -> None:
    actor.GetProperty().SetColor(*color)
    actor.GetProperty().SetLineWidth(width)
    actor.GetProperty().SetLighting(False)


def line_actor(polydata: Any, color: Color, width: float) -> Any:
    """Lines of `width` pixels, not lit. Not tubes: their filter stumbles over the double points that cut surfaces have."""
    actor = _actor(polydata, color)
    _as_line(actor, color, width)
    return actor


def cut(polydata: Any, origin: Any, normal: Any) -> Any:
    """The line in which a surface meets a plane."""
    import vtk

    plane = vtk.vtkPlane()
    plane.SetOrigin(*(float(v) for v in origin))
    plane.SetNormal(*(float(v) for v in normal))
    cutter = vtk.vtkCutter()
    cutter.SetInputData(polydata)
    cutter.SetCutFunction(plane)
    strips = vtk.vtkStripper()
    strips.SetInputConnection(cutter.GetOutputPort())
    strips.JoinContiguousSegmentsOn()
    strips.SetMaximumLength(100_000)
    strips.Update()
    return strips.GetOutput()


def shifted(polydata: Any, offset: Any) -> Any:
    """A copy moved by `offset` (3,) mm."""
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return _transformed(polydata, matrix)


def box_polydata(node: Node) -> Any:
    """The six faces of an ROI node in world coordinates."""
    import vtk

    size = node.GetSize()
    cube = vtk.vtkCubeSource()
    cube.SetXLength(size[0])
    cube.SetYLength(size[1])
    cube.SetZLength(size[2])
    cube.Update()
    return _transformed(cube.GetOutput(), from_vtk_matrix(node.GetObjectToWorldMatrix()))


def edges(polydata: Any) -> Any:
    """The edges of a polyhedron, without the diagonals of its faces."""
    import vtk

    found = vtk.vtkFeatureEdges()
    found.SetInputData(polydata)
    found.BoundaryEdgesOn()
    found.FeatureEdgesOn()
    found.ManifoldEdgesOff()
    found.NonManifoldEdgesOff()
    found.SetFeatureAngle(30)
    found.ColoringOff()
    found.Update()
    return found.GetOutput()


class SlicePlane:
    """A rectangle in the world on which the volume is drawn: origin (3,) mm, unit vectors `right` and `up`, extents in mm along them."""

    def __init__(self, origin: Any, right: Any, up: Any, low: tuple[float, float], high: tuple[float, float]) -> None:
        self.origin, self.right, self.up = (np.asarray(v, dtype=np.float64) for v in (origin, right, up))
        self.low, self.high = low, high

    @property
    def normal(self) -> FloatArray:
        """(3,) unit vector towards the one who sees `right` to the right and `up` upwards."""
        return np.asarray(np.cross(self.right, self.up))

    def points(self, u: Any, v: Any) -> FloatArray:
        """World points at (u, v) mm along `right` and `up`."""
        return np.asarray(self.origin + np.asarray(u)[..., None] * self.right + np.asarray(v)[..., None] * self.up)


def slice_actor(volume: Volume, to_world: FloatArray, window: tuple[float, float], plane: SlicePlane, step_mm: float, outline: Any = None) -> Any:
    """The volume on `plane` as a textured, opaque mesh that is open wherever the sweep never was, or outside `outline` ((n, 2) of u, v mm).

    to_world: (4, 4) from the volume's coordinates to the world. window: grey levels shown as black and as white.
    """
    import vtk
    from scipy import ndimage
    from vtkmodules.util.numpy_support import numpy_to_vtk

    counts = [max(2, round((high - low) / step_mm) + 1) for low, high in zip(plane.low, plane.high, strict=True)]
    u, v = (np.linspace(low, high, n) for low, high, n in zip(plane.low, plane.high, counts, strict=True))
    grid_u, grid_v = np.meshgrid(u, v)
    indices = transform_points(ras_to_ijk(volume.grid) @ np.linalg.inv(to_world), plane.points(grid_u, grid_v))
    kji = np.moveaxis(indices[..., ::-1], -1, 0)
    grey = ndimage.map_coordinates(volume.array, kji, np.float32, order=1, mode="nearest")
    seen = ndimage.map_coordinates((volume.weight > 0).astype(np.uint8), np.rint(kji), order=0, mode="constant", cval=0) > 0
    level = np.clip((grey - window[0]) / (window[1] - window[0]), 0, 1) ** 0.85
    shade = (level * 255).astype(np.uint8)

    rows, columns = seen.shape
    corners = np.arange(rows * columns).reshape(rows, columns)
    quads = np.stack([corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1]], axis=-1)
    whole = seen[:-1, :-1] & seen[:-1, 1:] & seen[1:, 1:] & seen[1:, :-1]
    if outline is not None:  # a quad with one corner inside is kept, so that no gap opens along the line drawn on the outline
        near = inside_polygon(outline, grid_u, grid_v)
        whole &= near[:-1, :-1] | near[:-1, 1:] | near[1:, 1:] | near[1:, :-1]
    kept = quads[whole]
    mesh = vtk.vtkPolyData()
    points = vtk.vtkPoints()
    points.SetData(numpy_to_vtk(plane.points(grid_u, grid_v).reshape(-1, 3).astype(np.float32), deep=True))
    mesh.SetPoints(points)
    cells = vtk.vtkCellArray()
    cells.SetData(4, numpy_to_vtk(kept.ravel().astype(np.int64), deep=True, array_type=vtk.VTK_ID_TYPE))
    mesh.SetPolys(cells)
    texel = np.stack(np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows), axis=-1).reshape(-1, 2)
    coordinates = numpy_to_vtk(texel.astype(np.float32), deep=True)
    coordinates.SetName("TextureCoordinates")
    mesh.GetPointData().SetTCoords(coordinates)
    image = vtk.vtkImageData()
    image.SetDimensions(columns, rows, 1)
    image.GetPointData().SetScalars(numpy_to_vtk(np.repeat(shade.reshape(-1, 1), 3, axis=1), deep=True))
    texture = vtk.vtkTexture()
    texture.SetInputData(image)
    texture.InterpolateOn()
    texture.SetColorModeToDirectScalars()
    actor = _actor(mesh, (1.0, 1.0, 1.0))
    actor.SetTexture(texture)
    actor.GetProperty().SetLighting(False)
    return actor


def inside_polygon(polygon: Any, x: Any, y: Any) -> np.ndarray:
    """Which of the points (x, y) lie in the closed `polygon` (n, 2), by the even-odd rule."""
    polygon = np.asarray(polygon, dtype=np.float64)
    inside = np.zeros(np.shape(x), dtype=bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside


def largest_diameter_mm(polydata: Any) -> float:
    """The largest distance between two points of a surface, mm."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist
    from vtkmodules.util.numpy_support import vtk_to_numpy

    points = vtk_to_numpy(polydata.GetPoints().GetData()).astype(np.float64)
    hull = points[ConvexHull(points).vertices]
    # Neighbours on a fine hull differ by less than the figure's last digit; 2000 of them keep the pairs few.
    return float(pdist(hull[:: max(1, len(hull) // 2000)]).max())
