"""Compiled search in a tree of boxes around triangles. Imports numba: load it inside functions only.

The tree is implicit: node n has the children 2n + 1 and 2n + 2, the last half of the nodes are leaves, and leaf m holds the triangles
starts[m] to starts[m + 1]. boxes: (nodes, 6) low x, y, z, high x, y, z; corners: (T, 3, 3) triangle, corner, coordinate; planes: (T, 4) each
triangle's unit normal and its plane's distance from the origin along it, all 0 for a triangle without area.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..reconstruction._compiled import compiled

STACK = 64
"""Deeper than any tree of so many triangles as memory holds: each level waits with one node."""


@compiled
def box_distance2(boxes: Any, node: int, x: float, y: float, z: float) -> float:
    """Squared distance from the point to the node's box, 0 inside."""
    dx = max(boxes[node, 0] - x, 0.0, x - boxes[node, 3])
    dy = max(boxes[node, 1] - y, 0.0, y - boxes[node, 4])
    dz = max(boxes[node, 2] - z, 0.0, z - boxes[node, 5])
    return dx * dx + dy * dy + dz * dz


@compiled
def nearest_on_triangle(corners: Any, t: int, x: float, y: float, z: float) -> Any:
    """The triangle's point nearest to (x, y, z): vertex, edge or face region (Ericson, Real-Time Collision Detection, 2005, 5.1.5).

    A triangle without area gives a point on one of its edges.
    """
    ax, ay, az = corners[t, 0, 0], corners[t, 0, 1], corners[t, 0, 2]
    bx, by, bz = corners[t, 1, 0], corners[t, 1, 1], corners[t, 1, 2]
    cx, cy, cz = corners[t, 2, 0], corners[t, 2, 1], corners[t, 2, 2]
    ux, uy, uz = bx - ax, by - ay, bz - az
    vx, vy, vz = cx - ax, cy - ay, cz - az
    px, py, pz = x - ax, y - ay, z - az
    d1 = ux * px + uy * py + uz * pz
    d2 = vx * px + vy * py + vz * pz
    if d1 <= 0 and d2 <= 0:
        return ax, ay, az
    px, py, pz = x - bx, y - by, z - bz
    d3 = ux * px + uy * py + uz * pz
    d4 = vx * px + vy * py + vz * pz
    if d3 >= 0 and d4 <= d3:
        return bx, by, bz
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0 and d1 - d3 > 0:
        v = d1 / (d1 - d3)
        return ax + v * ux, ay + v * uy, az + v * uz
    px, py, pz = x - cx, y - cy, z - cz
    d5 = ux * px + uy * py + uz * pz
    d6 = vx * px + vy * py + vz * pz
    if d6 >= 0 and d5 <= d6:
        return cx, cy, cz
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0 and d2 - d6 > 0:
        w = d2 / (d2 - d6)
        return ax + w * vx, ay + w * vy, az + w * vz
    va = d3 * d6 - d5 * d4
    along = (d4 - d3) + (d5 - d6)
    if va <= 0 and d4 >= d3 and d5 >= d6 and along > 0:
        w = (d4 - d3) / along
        return bx + w * (cx - bx), by + w * (cy - by), bz + w * (cz - bz)
    whole = va + vb + vc
    if not whole > 0:
        return ax, ay, az
    v, w = vb / whole, vc / whole
    return ax + v * ux + w * vx, ay + v * uy + w * vy, az + v * uz + w * vz


@compiled
def nearest(boxes: Any, starts: Any, corners: Any, planes: Any, x: float, y: float, z: float) -> Any:
    """(squared distance, nearest x, y, z): branch and bound, the nearer child first."""
    nodes = np.empty(STACK, np.int64)
    bounds = np.empty(STACK, np.float64)
    first_leaf = len(starts) - 2
    best, qx, qy, qz = math.inf, math.nan, math.nan, math.nan
    nodes[0], bounds[0], waiting = 0, box_distance2(boxes, 0, x, y, z), 1
    while waiting > 0:
        waiting -= 1
        node = nodes[waiting]
        if bounds[waiting] >= best:
            continue
        if node >= first_leaf:
            for t in range(starts[node - first_leaf], starts[node - first_leaf + 1]):
                # a plane is never farther than its triangle: inside a round lesion this spares almost all of the work
                off = planes[t, 0] * x + planes[t, 1] * y + planes[t, 2] * z - planes[t, 3]
                if off * off >= best:
                    continue
                tx, ty, tz = nearest_on_triangle(corners, t, x, y, z)
                d2 = (tx - x) ** 2 + (ty - y) ** 2 + (tz - z) ** 2
                if d2 < best:
                    best, qx, qy, qz = d2, tx, ty, tz
            continue
        one, other = 2 * node + 1, 2 * node + 2
        near, far = box_distance2(boxes, one, x, y, z), box_distance2(boxes, other, x, y, z)
        if near > far:
            one, other, near, far = other, one, far, near
        nodes[waiting], bounds[waiting] = other, far
        nodes[waiting + 1], bounds[waiting + 1] = one, near
        waiting += 2
    return best, qx, qy, qz


@compiled
def edge_crossed(ay: float, az: float, by: float, bz: float, y: float, z: float) -> bool:
    """Whether the ray from (y, z) towards +y crosses the projected edge; the same for both triangles of an edge, bit by bit."""
    if az > bz:
        ay, az, by, bz = by, bz, ay, az
    return az <= z < bz and (by - ay) * (z - az) > (y - ay) * (bz - az)


@compiled
def crosses(corners: Any, t: int, x: float, y: float, z: float) -> bool:
    """Whether the ray from the point towards +x goes through the triangle. Seen along x, the triangles of a closed surface share no point
    and leave no gap, because the half-open rule gives every point of an edge to exactly one side.
    """
    ax, ay, az = corners[t, 0, 0], corners[t, 0, 1], corners[t, 0, 2]
    bx, by, bz = corners[t, 1, 0], corners[t, 1, 1], corners[t, 1, 2]
    cx, cy, cz = corners[t, 2, 0], corners[t, 2, 1], corners[t, 2, 2]
    within = edge_crossed(ay, az, by, bz, y, z) != edge_crossed(by, bz, cy, cz, y, z)
    if within == edge_crossed(cy, cz, ay, az, y, z):
        return False
    if x < min(ax, bx, cx):
        return True
    if x >= max(ax, bx, cx):
        return False
    nx = (by - ay) * (cz - az) - (bz - az) * (cy - ay)
    ny = (bz - az) * (cx - ax) - (bx - ax) * (cz - az)
    nz = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    return (nx * (x - ax) + ny * (y - ay) + nz * (z - az)) * nx < 0


@compiled
def is_inside(boxes: Any, starts: Any, corners: Any, x: float, y: float, z: float) -> bool:
    """Whether a ray from the point leaves the surface an odd number of times."""
    nodes = np.empty(STACK, np.int64)
    first_leaf = len(starts) - 2
    inside = False
    nodes[0], waiting = 0, 1
    while waiting > 0:
        waiting -= 1
        node = nodes[waiting]
        if x > boxes[node, 3] or y < boxes[node, 1] or y > boxes[node, 4] or z < boxes[node, 2] or z > boxes[node, 5]:
            continue
        if node >= first_leaf:
            for t in range(starts[node - first_leaf], starts[node - first_leaf + 1]):
                if crosses(corners, t, x, y, z):
                    inside = not inside
            continue
        nodes[waiting], nodes[waiting + 1] = 2 * node + 1, 2 * node + 2
        waiting += 2
    return inside


@compiled
def signed_distances(boxes: Any, starts: Any, corners: Any, planes: Any, points: Any, values: Any, places: Any) -> None:
    """For (N, 3) `points`: (N,) `values`, negative inside, and (N, 3) `places`, the nearest points of the surface."""
    for n in range(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        d2, qx, qy, qz = nearest(boxes, starts, corners, planes, x, y, z)
        inside = is_inside(boxes, starts, corners, x, y, z)
        values[n] = -math.sqrt(d2) if inside else math.sqrt(d2)
        places[n, 0], places[n, 1], places[n, 2] = qx, qy, qz
