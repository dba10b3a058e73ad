"""The Python packages that the software needs: what is missing, and its installation through Slicer's own means, after someone has agreed."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
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
    refused: InputError | None = None
    try:
        if torch and not wheelhouse:
            try:
                _install_torch()
            except InputError as error:  # what else is missing is installed all the same, but nothing that would bring a torch of its own
                refused = error
                others = [requirement for requirement in others if requirement not in NETWORK]
            torch = []
        if others or torch:
            _install([*others, *torch], wheelhouse)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        raise InputError(f"The packages could not be installed ({error}); check the network or choose a wheelhouse, then try again.") from error
    importlib.invalidate_caches()
    if refused is not None:
        raise refused
    still = missing(requirements)
    if still:
        raise InputError(f"Not installed yet: {', '.join(still)}; restart Slicer, and look at its log if they are still missing.")


def _install(requirements: list[str], wheelhouse: str) -> None:
    import slicer.util

    packaging = _slicer_packaging()
    if packaging is not None and not wheelhouse:
        packaging.pip_ensure(requirements, skip_packages=list(SLICERS_OWN), prompt_install=False, requester="LiverLesionSeg")
        return
    # pip by itself would replace what Slicer brings: it is held to the versions that are there.
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "constraints.txt"
        held.write_text("".join(f"{line}\n" for line in held_versions()), encoding="utf-8")
        source = ["--no-index", "--find-links", wheelhouse] if wheelhouse else []
        slicer.util.pip_install([*source, "--constraint", str(held), *requirements])


def held_versions() -> list[str]:
    """`name==version` of each of SLICERS_OWN that is installed, so that no other package's wishes change it."""
    held = []
    for name in SLICERS_OWN:
        try:
            held.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return held


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
