"""The folders' imports go one way only, and importing the library loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT

LIBRARY = PROJECT / "LiverLesionSegLib"
RANKS = [
    {"types", "errors", "progress"},
    {"geometry"},
    {"files"},
    {"sweep", "reconstruction", "segmentation", "navigation"},
    {"acquisition", "phantom", "cohort", "evaluation", "training", "realtime", "ct"},
    {"scene", "worker"},
    {"host", "commands", "cli", "__main__"},
]
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names}
ONLY_IN = {"slicer": {"scene", "host"}, "qt": set(), "ctk": set()}
HEAVY = {"torch", "nnunetv2"}
CLASSES_OF_TORCH = LIBRARY / "segmentation" / "networks"
"""Its private modules define classes of torch's kind and are imported when a network is built; `test_import_loads_nothing_heavy` holds it to that."""


def modules() -> list[Path]:
    return sorted(path for path in LIBRARY.rglob("*.py") if "__pycache__" not in path.parts)


def folder_of(path: Path) -> str:
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    return parts[0]


def imported_modules(path: Path) -> list[tuple[str, int, bool]]:
    """(absolute module name, line, whether at module level) of every import in the file, relative ones resolved."""
    package = ["LiverLesionSegLib", *path.relative_to(LIBRARY).with_suffix("").parts][:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside_functions = {id(n) for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef)) for n in ast.walk(f)}
    type_only = {id(n) for i in ast.walk(tree) if isinstance(i, ast.If) and "TYPE_CHECKING" in ast.unparse(i.test) for n in ast.walk(i)}
    found = []
    for node in ast.walk(tree):
        top = id(node) not in inside_functions and id(node) not in type_only
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno, top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [(f"{module}.{alias.name}" if module == "LiverLesionSegLib" else module, node.lineno, top) for alias in node.names]
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(LIBRARY)))
def test_imports_go_one_way(path: Path) -> None:
    own = folder_of(path)
    for name, line, top in imported_modules(path):
        root, *rest = name.split(".")
        if root == "LiverLesionSegLib" and rest and rest[0] in RANK and own in RANK and rest[0] != own:
            assert RANK[rest[0]] <= RANK[own], f"{path.name}:{line}: {own} must not import {rest[0]}"
        if root in ONLY_IN:
            assert own in ONLY_IN[root], f"{path.name}:{line}: {own} must not import {root}"
        if root in HEAVY:
            lazy = path.parent == CLASSES_OF_TORCH and path.name.startswith("_") and path.name != "__init__.py"
            assert not top or lazy, f"{path.name}:{line}: {root} is imported inside functions only"


def test_every_folder_has_a_rank() -> None:
    known = {folder_of(path) for path in modules()} - {"__init__"}
    assert known <= set(RANK), f"give {known - set(RANK)} a place in the direction of imports"


def test_no_circles_between_folders() -> None:
    edges: dict[str, set[str]] = {}
    for path in modules():
        for name, _, _ in imported_modules(path):
            root, *rest = name.split(".")
            if root == "LiverLesionSegLib" and rest and rest[0] != folder_of(path):
                edges.setdefault(folder_of(path), set()).add(rest[0])

    def reaches(start: str, goal: str, seen: set[str]) -> bool:
        return any(n == goal or (n not in seen and reaches(n, goal, seen | {n})) for n in edges.get(start, ()))

    assert [folder for folder in edges if reaches(folder, folder, set())] == []


def test_import_loads_nothing_heavy() -> None:
    packages = [name for name in RANK if (LIBRARY / name).is_dir() and name not in ("scene", "host")]
    imports = "; ".join(["import LiverLesionSegLib", *(f"import LiverLesionSegLib.{name}" for name in packages), "import LiverLesionSegLib.cli"])
    code = (
        f"{imports}; import sys; print([m for m in ('torch', 'nnunetv2', 'slicer', 'numba', 'vtk', 'SimpleITK', 'matplotlib') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True)
    assert result.stdout.strip() == "[]"
