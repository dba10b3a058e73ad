"""The module on the stand-in for the desktop: how long the interface waits while a sweep is recorded and a lesion is found, and what comes when.

`python benchmarks/module.py [--pictures DIR]`. A simulated sweep comes from a process of its own, as from PlusServer. Rendering is measured apart.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "Testing"), str(PROJECT / "Testing" / "Python")]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

FRAMES, FPS = 90, 30.0
PATIENCE_S = 300.0


@contextmanager
def served(sweep: Path, config: Path) -> Iterator[int]:
    """The port on which a process plays `sweep` in a loop."""
    words = ["-m", "LiverLesionSegLib", "replay", str(sweep), "--port", "0", "--loop", "--fps", f"{FPS:g}", "--config", str(config)]
    process = subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=PROJECT)
    try:
        assert process.stderr is not None
        found = next(match for line in process.stderr if (match := re.search(r"listening on \S+:(\d+)", line)))
        yield int(found[1])
    finally:
        process.terminate()
        process.wait()


class Bench:
    """Drives the panel; `rows` is the table."""

    def __init__(self, desktop: Any, pictures: Path | None) -> None:
        from host import leaks

        from LiverLesionSegLib.scene.layouts import layout_node, show_layout

        self.desktop, self.pictures = desktop, pictures
        before = desktop.layout_manager.layout
        for name in ("navigation", "review", "sweep"):  # the views that they bring stay, as they do in Slicer
            show_layout(layout_node(desktop.scene), name)
            desktop.process()
        desktop.layout_manager.layout = before
        desktop.baseline = leaks.snapshot(desktop)
        self.widget = desktop.load_module(PROJECT / "LiverLesionSeg" / "LiverLesionSeg.py")
        desktop.select("LiverLesionSeg")
        self.window = desktop.show(1400, 900, 470)
        self.flow = self.widget.logic.flow
        self.rows: list[tuple[str, str, str]] = []

    def until(self, what: Callable[[], bool]) -> float:
        begun = time.perf_counter()
        if not self.desktop.process(PATIENCE_S, until=what):
            raise TimeoutError([state.said for state in self.flow.states().values()])
        return time.perf_counter() - begun

    def blocked(self, name: str, what: Callable[[], bool]) -> float:
        """How long until it holds, and the longest time for which the interface did not come round meanwhile."""
        from host import Heartbeat
        from PySide6 import QtCore

        worked, last = [0.0], [time.thread_time()]

        def beat() -> None:
            now = time.thread_time()
            worked.append(1000.0 * (now - last[0]))
            last[0] = now

        timer = QtCore.QTimer()
        timer.setInterval(5)
        timer.connect("timeout()", beat)
        timer.start()
        with Heartbeat() as heartbeat:
            seconds = self.until(what)
        timer.stop()
        self.rows.append((f"longest block, {name}", f"{heartbeat.worst_ms:.0f} ms", "100 ms"))
        self.rows.append(("  longest turn of its own work", f"{max(worked):.0f} ms", "100 ms"))
        for gap, where in heartbeat.blocked:
            print(f"blocked {gap:.0f} ms while {name}:\n{where}", file=sys.stderr)
        return seconds

    def picture(self, name: str) -> None:
        if self.pictures is not None:
            from PIL import Image

            self.window.draw()  # gives the views their sizes, to which what they show is fitted then
            self.desktop.process(0.4)
            path = self.window.save(self.pictures / f"module_{name}.png")
            Image.open(path).convert("RGB").quantize(192, dither=Image.Dither.NONE).save(path, optimize=True)


def run(bench: Bench, scenario: Any, port: int, folder: Path) -> None:
    from host import click

    flow, widget, ui = bench.flow, bench.widget, bench.widget.ui
    parameters = widget._parameters
    parameters.folder, parameters.configPath, parameters.port, parameters.host = str(folder / "sweeps"), str(scenario.config), port, "127.0.0.1"
    parameters.automatic = False
    flow.segmenting.load_model()
    loading = bench.blocked("starting, model loading", lambda: flow.segmenting.model is not None and not flow.background.busy("warm up"))
    bench.rows.append(("model loaded and warm", f"{loading:.1f} s", ""))
    bench.picture("start")
    for number, name in ((1, "research"), (2, "setup")):
        ui.tabs.setCurrentIndex(number)
        bench.picture(name)
    ui.tabs.setCurrentIndex(0)
    click(ui.nextButton)
    bench.blocked("connecting", lambda: flow.link.pose is not None and ui.nextButton.text == "Start sweep")
    bench.picture("connected")
    click(ui.nextButton)
    bench.blocked("recording", lambda: flow.link.status(now=True).frames >= FRAMES)
    if bench.pictures is not None:
        bench.until(lambda: flow.nodes.preview_node() is not None)
    bench.picture("sweep")
    begun = time.perf_counter()
    click(ui.nextButton)
    bench.blocked("sweep to volume", lambda: flow.sweeps.result is not None)
    to_volume = time.perf_counter() - begun
    flow.boxing.set(scenario.box)
    bench.until(lambda: flow.boxing.settled and flow.next()[1] == "segment")
    bench.picture("box")
    begun = time.perf_counter()
    flow.act("segment")
    bench.blocked("segmentation", lambda: not flow.segmenting.running)
    to_lesion = time.perf_counter() - begun
    assert flow.segmenting.result is not None, flow.states()["segment"]
    bench.picture("lesion")
    stages = {**flow.sweeps.result.seconds, **flow.segmenting.result.seconds}
    bench.rows += [
        ("end of sweep to volume on screen", f"{to_volume:.2f} s", ""),
        ("box to lesion on screen", f"{to_lesion:.2f} s", ""),
        ("both", f"{to_volume + to_lesion:.2f} s", "6 s"),
    ]
    bench.rows += [(f"  {name}", f"{seconds:.2f} s", "") for name, seconds in stages.items()]
    slide(bench)
    bench.until(lambda: ui.nextButton.text == "Accept the lesion")
    click(ui.nextButton)
    bench.blocked("accepting", lambda: flow.reviewing.accepted is not None and ui.nextButton.text == "Navigate")
    bench.picture("accepted")
    click(ui.nextButton)
    bench.blocked("navigation starting", lambda: flow.navigating.shown.reading.distance_mm is not None)
    begun = time.perf_counter()
    bench.blocked("navigation, 3 s", lambda: time.perf_counter() - begun > 3.0)
    if bench.pictures is not None:  # a moment in which the live image cuts the lesion
        bench.until(lambda: flow.navigating.scene_nodes.contours[0].node.GetPolyData().GetNumberOfPoints() > 120)
    drawn = bench.window.draw()
    bench.rows += [(f"drawing {view}", f"{ms:.0f} ms", "") for view, ms in drawn.items()]
    bench.picture("navigation")


def slide(bench: Bench) -> None:
    """Ten values of the threshold slider, each until mask and surface are in the scene."""
    flow, slider = bench.flow, bench.widget.ui.thresholdSlider
    taken = []
    tuned = flow.segmenting.result.tuned.value
    for value in np.linspace(max(0.1, tuned - 0.2), min(0.9, tuned + 0.2), 10):
        before = flow.segmenting.result
        begun = time.perf_counter()
        slider.value = float(value)
        bench.until(lambda before=before: flow.segmenting.result is not before)
        taken.append(1000.0 * (time.perf_counter() - begun))
    bench.rows.append(("threshold slider to mask and surface, median", f"{np.median(taken):.0f} ms", "150 ms"))
    bench.rows.append(("threshold slider to mask and surface, longest", f"{max(taken):.0f} ms", "150 ms"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each state")
    options = parser.parse_args()
    from host import install
    from module_cases import make_scenario

    from LiverLesionSegLib.phantom import PhantomSettings
    from LiverLesionSegLib.sweep import write_sweep

    with tempfile.TemporaryDirectory() as name, install() as desktop:
        folder = Path(name)
        scenario = make_scenario(folder / "phantom", PhantomSettings(echogenicity="hypo", lesion_ml=(4.0, 8.0), lesion_median_ml=6.0))
        write_sweep(folder / "played.igs.mha", scenario.sweep, compress=False)
        bench = Bench(desktop, options.pictures)
        with served(folder / "played.igs.mha", scenario.config) as port:
            run(bench, scenario, port, folder)
        print(f"{'':48s}{'measured':>12s}{'wanted':>10s}")
        for what, value, wanted in bench.rows:
            print(f"{what:48s}{value:>12s}{wanted:>10s}")
        print(f"slots that raised: {len(desktop.slot_errors)}")
        for text in desktop.slot_errors:
            print(text, file=sys.stderr)
        desktop.unload()
        desktop.scene.Clear(False)
        print("left behind: " + ("; ".join(desktop.leaks()) or "nothing"))


if __name__ == "__main__":
    main()
