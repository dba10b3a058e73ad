"""`doctor`: says whether this Python can run everything, by running a little of each thing."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, ModelError
from .run import Run
from .shipped_model import DEFAULT_MODEL, missing_model

PYTHON = (3, 10)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Exit 0 when all that is required works, 2 otherwise."""
    parser.add_argument("--device", help="the network's kernel must run on this device: cpu or cuda")
    parser.add_argument("--list", action="store_true", help="exit 0 all the same: the list of what works and what does not is all that is wanted")
    parser.add_argument("--model", type=Path, metavar="DIR", help="model to look at (the bundle that comes with the software)")


def run(options: argparse.Namespace, run: Run) -> int:
    """Each check is a function that returns what it found or raises with what to do."""
    run.device = options.device or "cpu"
    checks: list[tuple[str, bool, Callable[[], str]]] = [
        ("python", True, _python),
        ("reconstruction", True, _reconstruction),
        ("region growing", True, _packages("SimpleITK", "skimage", "scipy")),
        ("surfaces", True, _packages("vtk")),
        ("write access", True, _write_access),
        ("network kernel", options.device is not None, lambda: _network_kernel(options.device or "cpu")),
        ("nnU-Net", False, _packages("nnunetv2", "safetensors")),
        ("model", False, lambda: _model(options.model or DEFAULT_MODEL)),
        ("scene", False, _packages("slicer")),
        ("pictures", False, _pictures),
    ]
    results: list[dict[str, Any]] = []
    for number, (name, required, check) in enumerate(checks):
        run.progress(number / len(checks), name)
        with run.stage(name.replace(" ", "_")):
            try:
                ok, text = True, check()
            except (InputError, ImportError, OSError, RuntimeError, ValueError) as error:
                ok, text = False, " ".join(str(error).split())
        results.append({"check": name, "required": required, "ok": ok, "found": text})
    run.found["checks"] = results
    missing = [r["check"] for r in results if not r["ok"]]
    run.found["ready"] = not missing
    run.summary += [f"{'ok  ' if r['ok'] else 'FAIL' if r['required'] else 'miss'}  {r['check']}: {r['found']}" for r in results]
    blocking = [r for r in results if r["required"] and not r["ok"]]
    needed = "Something that is needed does not work." if blocking else "What is needed runs."
    run.summary.append("Everything can run." if not missing else f"{needed} Not to be had here: {', '.join(missing)}.")
    if blocking and not options.list:
        if not options.json:
            print("\n".join(run.summary))
        raise InputError(f"{blocking[0]['check']} does not work here: {blocking[0]['found']}")
    return 0


def _python() -> str:
    if sys.version_info < PYTHON:
        raise InputError(f"Python {sys.version.split()[0]} is too old; use Python 3.10 or newer.")
    return sys.version.split()[0]


def _installing(extras: str) -> str:
    """How packages come into this Python; Slicer's launcher sets SLICER_HOME."""
    return (
        "install the packages in the module's set-up" if "SLICER_HOME" in os.environ else f"install it with: pip install 'liverlesionseg[{extras}]'"
    )


def _packages(*names: str) -> Callable[[], str]:
    def check() -> str:
        found = []
        for name in names:
            try:
                module = importlib.import_module(name)
            except ImportError as error:
                raise InputError(f"{name} cannot be imported ({error}); {_installing('nnunet,scene')}") from error
            found.append(f"{name} {getattr(module, '__version__', '')}".strip())
        return ", ".join(found)

    return check


def _reconstruction() -> str:
    from ..reconstruction import ReconstructionSettings, Reconstructor
    from ..types import Calibration

    calibration = Calibration(np.diag([0.5, 0.5, 0.5, 1.0]))
    reconstructor = Reconstructor(calibration, ReconstructionSettings(spacing_mm=1.0))
    reconstructor.add(np.full((16, 16), 7, np.uint8), np.eye(4))
    volume = reconstructor.result()
    if int(volume.array.max()) != 7:
        raise InputError("a volume of constant grey level comes out wrong; reinstall numba, or report this.")
    compiled = importlib.util.find_spec("numba") is not None
    return "a frame was reconstructed" if compiled else "a frame was reconstructed, slowly: numba is not installed"


def _write_access() -> str:
    from platformdirs import user_cache_dir

    for folder in (Path(user_cache_dir("liverlesionseg")), Path.cwd(), Path(tempfile.gettempdir())):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise InputError(f"{folder} cannot be written; give yourself permission or start elsewhere.")
    return "cache, working and temporary folders"


def _network_kernel(device: str) -> str:
    try:
        import torch
    except ImportError as error:
        raise InputError(f"torch cannot be imported ({error}); {_installing('nnunet')}") from error
    if device != "cpu" and not torch.cuda.is_available():
        raise InputError(f"{device} was asked for, but torch {torch.__version__} sees no such device; install a CUDA build or use cpu.")
    one = torch.ones(1, 1, 4, 4, 4, device=device)
    total = float(torch.nn.functional.conv3d(one, torch.ones(1, 1, 3, 3, 3, device=device)).sum())
    if total != 27 * 8:
        raise InputError(f"a convolution on {device} gives {total} instead of 216; update the driver.")
    return f"torch {torch.__version__} ran a convolution on {device}"


def _model(folder: Path) -> str:
    from ..segmentation import load_model

    if why := missing_model(folder):
        raise ModelError(f"{why}; train one, give --model DIR, or use region growing.")
    bundle = load_model(folder)
    threshold = f"threshold {bundle.threshold.value:.3f}" if bundle.threshold else "no threshold"
    return f"{folder.name}, id {bundle.model_id[:12]}, {threshold}"


def _pictures() -> str:
    from ..scene.rendering import check_offscreen

    return check_offscreen()
