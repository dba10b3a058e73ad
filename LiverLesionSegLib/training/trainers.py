"""Which trainers there are, read off the files that nnU-Net would search: none of them is imported for it, and no process started."""

from __future__ import annotations

import ast
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from ..errors import InputError
from ..files.resources import resource

BASE = "nnUNetTrainer"
LEFT_OUT = "primus_trainers"
"""The module of nnU-Net's that `_nnunet_process` leaves out, for what it needs beside torch."""


def own_trainers() -> tuple[str, ...]:
    """The trainers of nnunet_plans/trainers, by name; none where nnU-Net is not installed."""
    return tuple(sorted(name for name, file in _trainers().items() if file.parent == resource("nnunet_plans", "trainers")))


def check_trainer(name: str) -> None:
    """Raises InputError unless `name` is a trainer of nnunet_plans/trainers or one of nnU-Net's own; where nnU-Net is missing, nothing is refused."""
    known = _trainers()
    if known and name not in known:
        raise InputError(f"Trainer {name[:80]!r} is not known; give {', '.join(own_trainers())}, or one of nnU-Net's own, such as {BASE}.")


@lru_cache(maxsize=1)
def _trainers() -> dict[str, Path]:
    spec = find_spec("nnunetv2")
    if spec is None or not spec.submodule_search_locations:
        return {}
    folders = (Path(spec.submodule_search_locations[0]) / "training" / "nnUNetTrainer", resource("nnunet_plans", "trainers"))
    bases: dict[str, set[str]] = {}
    files: dict[str, Path] = {}
    for path in (path for folder in folders for path in sorted(folder.rglob("*.py")) if path.stem != LEFT_OUT):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {
                    base.id if isinstance(base, ast.Name) else base.attr for base in node.bases if isinstance(base, ast.Name | ast.Attribute)
                }
                files[node.name] = path
    found = {BASE}
    while more := {name for name, parents in bases.items() if parents & found} - found:
        found |= more
    return {name: files[name] for name in found if name in files and not name.startswith("_")}
