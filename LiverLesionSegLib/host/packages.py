"""The Python packages that the software needs: what is missing, and its installation through Slicer's own means, after someone has agreed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..errors import InputError

CORE = (
    "scipy>=1.11", "numba>=0.60", "SimpleITK>=2.3", "scikit-image>=0.22", "defusedxml>=0.7", "matplotlib>=3.8", "platformdirs>=4.0", "rich>=13.0",
    "fastcrc>=0.4.0",
)  # fmt: skip
"""For everything but the network. numpy and VTK are Slicer's own, which must not be replaced."""
NETWORK = ("nnunetv2>=2.6", "safetensors>=0.4.3")
TORCH = "torch>=2.6"
SLICERS_OWN = ("numpy", "vtk", "SimpleITK", "torch")
"""Never changed by what another package asks for: Slicer brings SimpleITK's own build, SlicerPyTorch chooses torch's."""


def missing(requirements: Sequence[str] = (*CORE, *NETWORK, TORCH)) -> list[str]:
    """Those that are not installed, or too old; nothing is imported."""
    return [requirement for requirement in requirements if not _met(requirement)]


def _met(requirement: str) -> bool:
    from packaging.requirements import Requirement
    from packaging.version import InvalidVersion, Version

    parsed = Requirement(requirement)
    try:
        found = version(parsed.name)
    except PackageNotFoundError:
        # Slicer's own SimpleITK has no metadata in some versions.
        return parsed.name == "SimpleITK" and importlib.util.find_spec("SimpleITK") is not None
    try:
        return Version(found) in parsed.specifier or parsed.specifier.contains(found, prereleases=True)
    except InvalidVersion:
        return True


def install(requirements: Sequence[str], wheelhouse: str = "") -> None:
    """Install what is missing; the caller has asked. wheelhouse: a folder of wheels, nothing is then fetched from the network.

    Waits, with Slicer's own progress window. Raises InputError with what to do where it fails.
    """
    import subprocess

    wanted = missing(requirements)
    if not wanted:
        return
    if wheelhouse and not Path(wheelhouse).is_dir():
        raise InputError(f"{wheelhouse}: there is no such folder; choose the folder that holds the wheels, or leave the line empty.")
    torch = [requirement for requirement in wanted if requirement == TORCH]
    others = [requirement for requirement in wanted if requirement != TORCH]
    try:
        if torch and not wheelhouse:
            _install_torch()
            torch = []
        if others or torch:
            _install([*others, *torch], wheelhouse)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        raise InputError(f"The packages could not be installed ({error}); check the network or choose a wheelhouse, then try again.") from error
    importlib.invalidate_caches()
    still = missing(requirements)
    if still:
        raise InputError(f"Not installed yet: {', '.join(still)}; restart Slicer, and look at its log if they are still missing.")


def _install(requirements: list[str], wheelhouse: str) -> None:
    import slicer.util

    if wheelhouse:
        slicer.util.pip_install(["--no-index", "--find-links", wheelhouse, *requirements])
        return
    packaging = _slicer_packaging()
    if packaging is not None:
        packaging.pip_ensure(requirements, skip_packages=list(SLICERS_OWN), prompt_install=False, requester="LiverLesionSeg")
    else:
        slicer.util.pip_install(requirements)


def _slicer_packaging() -> Any:
    """slicer.packaging, which is there from Slicer 5.12 on."""
    try:
        return importlib.import_module("slicer.packaging")
    except ImportError:
        return None


def _install_torch() -> None:
    try:
        utils = importlib.import_module("PyTorchUtils")
    except ImportError as error:
        raise InputError("torch comes with the extension PyTorch; install it in the Extensions Manager, then restart Slicer.") from error
    if utils.PyTorchUtilsLogic().installTorch(askConfirmation=False, torchVersionRequirement=">=2.6") is None:
        raise InputError("torch was not installed; try again, or choose a wheelhouse folder.")
