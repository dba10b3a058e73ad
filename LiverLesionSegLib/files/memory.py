"""How much memory this machine can still give, asked of the operating system."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

UNKNOWN_BYTES = 4 << 30
"""Assumed where the operating system does not say."""


class _WindowsStatus(ctypes.Structure):
    # https://learn.microsoft.com/windows/win32/api/sysinfoapi/ns-sysinfoapi-memorystatusex
    _fields_ = (
        ("dwLength", ctypes.c_ulong),
        ("dwMemoryLoad", ctypes.c_ulong),
        *((name, ctypes.c_ulonglong) for name in ("total", "available", "total_page", "available_page", "total_virtual", "virtual", "extended")),
    )


def _control_group_bytes() -> int | None:
    """What a Linux control group (a container) leaves to its processes, or None without a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        return int((folder / "memory.max").read_text()) - int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return None


def available_bytes() -> int:
    """Memory that can be allocated without swapping, bytes."""
    if sys.platform == "win32":
        status = _WindowsStatus(dwLength=ctypes.sizeof(_WindowsStatus))
        return int(status.available) if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else UNKNOWN_BYTES
    try:
        line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable:"))
        available = int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        try:
            # macOS does not tell what is available; half of what is built in is a fair guess.
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        except (OSError, ValueError):
            return UNKNOWN_BYTES
    group = _control_group_bytes()
    return available if group is None else max(0, min(available, group))
