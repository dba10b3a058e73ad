"""slicer.packaging and pip_install: what would be installed is recorded, nothing ever is."""

from __future__ import annotations

import types
from typing import Any


def record(desktop: Any, requirements: Any, what: str = "install") -> None:
    texts = requirements.split() if isinstance(requirements, str) else [str(r) for r in requirements]
    desktop.installs += texts if what == "install" else [f"{what} {text}" for text in texts]


def module(desktop: Any) -> types.ModuleType:
    """A fresh slicer.packaging."""
    from packaging.requirements import Requirement

    made = types.ModuleType("slicer.packaging")

    def pip_check(requirements: Any) -> bool:
        """Whether every requirement is met by what is installed in this Python."""
        from importlib.metadata import PackageNotFoundError, version

        for requirement in requirements if isinstance(requirements, (list, tuple)) else [requirements]:
            parsed = Requirement(str(requirement))
            if parsed.marker is not None and not parsed.marker.evaluate():
                continue
            try:
                if not parsed.specifier.contains(version(parsed.name), prereleases=True):
                    return False
            except PackageNotFoundError:
                return False
        return True

    def pip_ensure(requirements: Any, prompt_install: bool = True, **options: Any) -> None:
        missing = [r for r in (requirements if isinstance(requirements, (list, tuple)) else [requirements]) if not pip_check(r)]
        if not missing:
            return
        if prompt_install and not desktop.slicer.util.confirmOkCancelDisplay("Install " + ", ".join(str(r) for r in missing)):
            raise RuntimeError("The user declined to install packages")
        record(desktop, missing)

    def pip_install(requirements: Any, *arguments: Any, completedCallback: Any = None, **options: Any) -> None:
        record(desktop, requirements)
        if completedCallback is not None:
            completedCallback(0)

    def load_requirements(path: Any) -> list[Requirement]:
        with open(path, encoding="utf-8") as lines:  # noqa: PTH123
            return [Requirement(line.strip()) for line in lines if line.strip() and not line.strip().startswith(("#", "-"))]

    for function in (pip_check, pip_ensure, pip_install, load_requirements):
        setattr(made, function.__name__, function)
    made.pip_uninstall = lambda requirements, **options: record(desktop, requirements, "uninstall")
    made.isPipInstallInProgress = lambda: False
    return made
