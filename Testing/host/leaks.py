"""What a module may leave behind: observers of the scene and its nodes, child processes, threads, running timers, connections."""

from __future__ import annotations

import gc
import re
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from .pythonqt import connections_of


def observers(thing: Any) -> Counter:
    """Numbers of the events that a VTK object is observed for, from what it prints of itself."""
    return Counter(re.findall(r"Event: (\d+)", str(thing)))


def children(pid: int | None = None) -> dict[int, str]:
    """Child processes that still run, with their command line; on Linux only."""
    import os

    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(state[1]) == (pid or os.getpid()) and state[0] != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ").strip()
        except OSError:  # it ended while we looked
            continue
    return found


def timers() -> list[Any]:
    from PySide6 import QtCore
    from shiboken6 import isValid

    return [t for t in gc.get_objects() if isinstance(t, QtCore.QTimer) and isValid(t) and t.active]


def _lasting(desktop: Any) -> dict[str, Any]:
    scene = desktop.scene
    things = {"scene": scene, "application logic": desktop.application_logic}
    things.update({f"logic {name}": logic for name, logic in desktop.logics.items()})
    for n in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(n)
        if node.GetSingletonTag() or node.IsA("vtkMRMLAbstractViewNode"):
            things[f"node {node.GetID()}"] = node
    return things


def snapshot(desktop: Any) -> dict[str, Any]:
    senders = {"slicer.app": desktop.app, "module manager": desktop.module_manager, "layout manager": desktop.layout_manager}
    return {
        "observers": {name: observers(thing) for name, thing in _lasting(desktop).items()},
        "processes": children(),
        "threads": set(threading.enumerate()),
        "timers": {id(t) for t in timers()},
        "connections": {name: len(connections_of(sender)) for name, sender in senders.items()},
    }


def compare(desktop: Any, before: dict[str, Any]) -> list[str]:
    """One line for each thing that was not there before; collects garbage first."""
    gc.collect()
    now = snapshot(desktop)
    found = []
    for name, events in now["observers"].items():
        if name in before["observers"]:
            found += [f"{count} observer(s) of event {event} on {name}" for event, count in (events - before["observers"][name]).items()]
    found += [f"process {pid}: {line}" for pid, line in now["processes"].items() if pid not in before["processes"]]
    found += [f"thread {thread.name}" for thread in now["threads"] - before["threads"] if thread.is_alive()]
    found += [f"timer {t.objectName or t} of {t.parent()}, every {t.interval} ms" for t in timers() if id(t) not in before["timers"]]
    found += [
        f"{count - before['connections'][name]} connection(s) to {name}"
        for name, count in now["connections"].items()
        if count > before["connections"][name]
    ]
    if desktop.render_pauses:
        found.append(f"rendering was paused {desktop.render_pauses} times more than resumed")
    return found
