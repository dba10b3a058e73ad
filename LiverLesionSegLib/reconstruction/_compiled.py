"""Compiles kernels with numba and keeps the machine code in a user folder, so that only the first run on a machine waits for the compiler."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import platformdirs
from numba.core import config

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def cache_folder() -> str:
    """Where compiled kernels are kept: by the content of all kernel files, because numba itself only watches the file that a kernel stands in."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("_kernels*.py")):
        digest.update(path.read_bytes())
    return str(Path(platformdirs.user_cache_dir("LiverLesionSeg", appauthor=False)) / "kernels" / digest.hexdigest()[:12])


def compiled(function: Kernel) -> Kernel:
    """`function` compiled for every thread to run freely (without the interpreter's lock), cached on disk.

    Numba picks the cache's folder when it decorates, from its own setting, which is lent to it for that moment: neither the process's environment
    nor other packages' kernels are touched. The person's NUMBA_CACHE_DIR wins. Numba's own order follows (beside the source, the user's
    numba folder); where none can be written, as in a locked-down host application, the kernels are compiled anew in every process.
    """
    own = config.CACHE_DIR
    try:
        config.CACHE_DIR = own or cache_folder()
        try:
            return numba.njit(function, nogil=True, cache=True, error_model="numpy")
        except RuntimeError:
            return numba.njit(function, nogil=True, error_model="numpy")
    finally:
        config.CACHE_DIR = own


inlined = numba.njit(inline="always", error_model="numpy")
"""For the helpers of kernels: compiled into their callers, so never cached by themselves."""

helper = numba.njit(error_model="numpy")
"""The same for those that need not be part of their callers."""
