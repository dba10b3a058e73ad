"""The six steps in one hand: what each shows, what comes next, and what ends with the scene or the module. Ticked by one timer, it never waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Cancelled, InputError, OutputError, SceneError, causes
from ..scene.hierarchy import sweeps as sweeps_of
from ..scene.trust import clear_patient
from ..types import Box, Volume
from ..worker.client import Worker
from ..worker.settings import WorkerSettings
from . import connector
from .background import Background
from .boxing import Boxing
from .case_nodes import CaseNodes
from .link import Link, warm_up
from .log import Log
from .navigating import Navigating
from .outlining import Outlining
from .placing import Seeding
from .proposing import Proposing
from .rehearsal import Rehearsal
from .restoring import keep_lesion, keep_sweep, take_up
from .reviewing import Accepted, Reviewing
from .segmenting import GROWING, LesionResult, Segmenting, same_box
from .state import ATTENTION, READY, RUNNING, Said, StepState
from .sweeps import NAMELESS, SweepResult, Sweeps

STEPS = ("connect", "sweep", "box", "segment", "review", "navigate")


@dataclass(frozen=True)
class FlowSettings:
    """python, environment: of the worker, None for this process's. automatic: segment by itself once the box has been still for a moment.

    preload: load the model with the first connection, so that it is there when the sweep ends. frames_model: folder of a network of single frames,
    None for the shipped one.
    """

    python: str | None = None
    environment: Mapping[str, str] | None = None
    worker: WorkerSettings | None = None
    automatic: bool = True
    preload: bool = True
    frames_model: Path | None = None


class Flow:
    """Made by the module's logic, one for a scene. All methods are for the main thread; what a button does goes through `do`."""

    def __init__(self, scene: Any, settings: FlowSettings | None = None) -> None:
        self.settings = settings or FlowSettings()
        self.automatic = self.settings.automatic
        self.scene = scene
        self.log = Log()
        self.background = Background(self.log)
        self._worker: Worker | None = None
        self.worker_said: str = ""
        self.problem: Said | None = None
        self.problem_details: tuple[str, ...] = ()
        self.nodes = CaseNodes(scene)
        self.link = Link(self.background, self.log)
        self.sweeps = Sweeps(self.link, self.worker, self.background, self.nodes, self.log, self._new_volume)
        self.boxing = Boxing(self.link, self.nodes, self.log)
        self.seeding = Seeding(self.nodes)
        self.proposing = Proposing(self.worker, self.nodes, self.log, self.settings.frames_model)
        self.rehearsal = Rehearsal(self.log, self.settings.python)
        self.segmenting = Segmenting(self.worker, self.background, self.nodes, self.log, self._new_lesion)
        self.reviewing = Reviewing(self.background, self.nodes, self.log, self._accepted)
        self.navigating = Navigating(self.link, self.worker, self.background, self.nodes, self.log)
        self.outlining = Outlining(self.link, self.navigating, self.worker, self.background, self.nodes, self.log, self.settings.frames_model)
        self.log.names = lambda: () if self.sweeps.patient == NAMELESS else (self.sweeps.patient,)
        self.connection: Callable[[], None] | None = None
        self._tried: Box | None = None
        self._closed = False

    def worker(self) -> Worker:
        """The one warm process, started when it is first needed."""
        if self._worker is None:
            from .python import slicer_python

            self._worker = Worker(self.settings.worker)
            self._worker.start(self.settings.python or slicer_python(), self.settings.environment)
        return self._worker

    @property
    def worker_pid(self) -> int | None:
        """Of the worker process, while there is one."""
        return self._worker.pid if self._worker is not None else None

    def do(self, action: Callable[[], Any], what: str = "") -> bool:
        """Do what a person asked for; what the library refuses becomes the problem that is shown, in place of the one before. Whether it was done."""
        self.problem, self.problem_details = None, ()
        return self.guarded(action, what)

    def guarded(self, action: Callable[[], Any], what: str = "") -> bool:
        """Call what a button, a key or the timer stands for: what goes wrong is said, and a defect is written down. Whether it was done."""
        try:
            action()
        except Cancelled:
            return False
        except InputError as error:
            self.complain(str(error), what, error)
            return False
        except Exception as error:  # noqa: BLE001 - the outermost frame of the interface: what failed must be seen, and go into the log
            self.defect(error, what)
            return False
        return True

    def complain(self, text: str, what: str = "", error: Exception | None = None) -> None:
        """Show a sentence of the library as the problem at hand; what lies behind it goes with it."""
        behind = causes(error) if error is not None else ()
        self.problem, self.problem_details = Said("error", {"text": text}), (*([what] if what else []), *behind)
        self.log.add(f"{what}: {text}" if what else text, problem=True, error=error)

    def defect(self, error: Exception, what: str = "") -> None:
        """Show that something failed that must not, in one sentence; its traceback goes into the log."""
        self.problem = Said("defect", {"error": f"{type(error).__name__}: {error}"})
        self.problem_details = (*([what] if what else []), *causes(error))
        self.log.defect(error, what)

    def act(self, code: str) -> bool:
        """Do what an action's code stands for."""
        actions: dict[str, Callable[[], Any]] = {
            "connect": self._connect,
            "disconnect": self.disconnect,
            "start_sweep": lambda: self.sweeps.start(),
            "stop_sweep": self.sweeps.stop,
            "place_box": self.boxing.place_in_middle,
            "place_clicks": self.boxing.place_by_clicks,
            "accept_proposal": lambda: self.boxing.set(self.proposing.box),
            "segment": self.segment,
            "grow": self.grow,
            "accept": lambda: self.reviewing.accept(self.sweeps.result, self.nodes.patient),
            "navigate": self.navigating.start,
            "stop_navigation": self.navigating.stop,
            "confirm_sensor": lambda: self.navigating.confirm("confirmed on the panel"),
        }
        self.seeding.stop()
        return code in actions and self.do(actions[code], code)

    def warm_up(self) -> None:
        """Load in the background what is compiled; to be called when the module is opened, and by connecting. Where packages are missing, nothing."""
        config = self.link.config
        # What is missing is said by the set-up, and by whatever needs it.
        self.background.run("warm up", lambda cancelled: warm_up(config), lambda _: None, lambda error: self.log.add(str(error)))

    def _connect(self) -> None:
        if self.connection is not None:
            self.connection()
            if self.link.config is not None:
                self.warm_up()
            if self.settings.preload and self.segmenting.model is None and not self.segmenting.loading:
                self.segmenting.load_model()

    def disconnect(self) -> None:
        """Close the connection. Raises OutputError while a sweep is being recorded."""
        if self.sweeps.recording:
            raise OutputError("A sweep is being recorded; stop it first.")
        self.link.disconnect()
        self.navigating.clear_live()
        connector.disconnect(self.scene)

    def segment(self) -> None:
        """Segment in the box by the model."""
        self._tried = self._need_box()
        self.seeding.stop()
        self.segmenting.segment(self._tried)

    def grow(self) -> None:
        """Segment in the box by region growing from the seeds that are placed, or from the box's centre."""
        from ..scene.nodes import seeds_from_node

        self._tried = self._need_box()
        self.seeding.stop()
        node = self.nodes.seeds()
        self.segmenting.grow(self._tried, seeds_from_node(node) if node is not None else None)

    def _need_box(self) -> Box:
        if self.boxing.box is None:
            raise SceneError("There is no box yet; draw it around the lesion first.")
        return self.boxing.box

    def cancel(self) -> None:
        """Stop whatever runs and can be stopped; a recording is not, it has its own button. While clicks place something, that alone is stopped."""
        if self.boxing.placing or self.seeding.placing:
            self.stop_placing()
            return
        self.sweeps.cancel()
        self.proposing.cancel()
        self.segmenting.cancel()
        if self.link.session is not None and self.link.frame is None and not self.sweeps.busy:
            self.link.disconnect()

    def stop_placing(self) -> None:
        """Clicks in the views place nothing more, such as when the module is left: no corner of a box, and no seed."""
        self.boxing.cancel()
        self.seeding.stop()

    def use_volume(self, volume: Volume, name: str) -> None:
        """Work on a volume from a file or another module instead of a sweep's."""
        if self.sweeps.busy:
            raise OutputError("A sweep is in work; wait, or stop it first.")
        self.sweeps.result = None
        self.nodes.show_volume(volume, name, self.sweeps.patient)
        self._take_volume(volume)

    def set_folder(self, folder: str | Path) -> None:
        """Where sweeps, accepted lesions and their table go."""
        self.sweeps.folder = self.reviewing.folder = Path(folder)

    def new_patient(self, name: str) -> None:
        """Nothing of the patient before stays in the scene; files stay. Raises OutputError while a sweep is in work, or for the same patient."""
        if self.sweeps.busy:
            raise OutputError("A sweep is in work; stop it before the next patient.")
        self.sweeps.next_patient(name)
        clear_patient(self.scene)
        self.scene_closed()

    def load_recording(self, browser: Any, config: str) -> None:
        """Make a sweep of a recording of the Sequences module, in the background, and then its volume. Raises SweepError for what is no sweep."""
        from .recordings import save_recording, sweep_from_browser

        sweep, folder = sweep_from_browser(browser), self.sweeps.patient_folder
        self.background.run(
            "recording",
            lambda cancelled: save_recording(sweep, folder),
            lambda path: self.do(lambda: self.sweeps.load(path, config), "load recording"),
            lambda error: self.complain(str(error), "load recording", error),
        )

    def name_patient(self, name: str) -> None:
        """What is typed as the patient's name. It renames the present patient only as long as there is nothing of them; then it waits."""
        if not (self.sweeps.busy or self.sweeps.recorded or self.nodes.sweep):
            self.sweeps.patient = name.strip() or NAMELESS

    def scene_closed(self) -> None:
        """Nothing of the scene is there any more. A recording goes on, and comes into the new scene."""
        self.nodes.forget()
        self.sweeps.forget()
        self._take_volume(None)
        self.navigating.forget()
        self.problem = None

    def scene_opened(self) -> None:
        """Take up the case of a scene that was loaded: volume, box, seeds, lesion, and whether it was accepted. A case that is there goes on.

        Raises OutputError while a sweep is in work, SceneError for a lesion that cannot be read: then volume and box are taken up all the same.
        """
        if self.nodes.current() is not None:
            return
        if self.sweeps.busy:
            if sweeps_of(self.scene):
                raise OutputError("A sweep is in work, so the scene's case was not taken up; open the scene again when the sweep is done.")
            return
        volume = self.nodes.restore()
        current = self.nodes.current()
        if volume is None or current is None:
            return
        self._take_volume(volume)
        self.sweeps.restore(None, self.nodes.patient)
        self.log.add(f"the case {self.nodes.sweep} was taken up from the scene")
        try:
            take_up(self, current, volume)
        finally:
            self._tried = self.boxing.box  # what was saved, perhaps corrected by hand, is not segmented anew by itself

    def _take_volume(self, volume: Volume | None) -> None:
        self._tried = None
        self.seeding.stop()
        self.boxing.begin(volume)
        self.segmenting.begin(volume)
        self.reviewing.begin(None)
        self.navigating.new_sweep()
        self.outlining.new_sweep()
        self.proposing.begin(None)

    def _new_volume(self, result: SweepResult) -> None:
        keep_sweep(self.nodes, result)
        self._take_volume(result.volume)
        self.proposing.begin(result)

    def _new_lesion(self, result: LesionResult | None) -> None:
        if result is not None:
            keep_lesion(self.nodes, result)
        self.reviewing.begin(result)
        self.navigating.lesion_changed(result.surface if result is not None else None)

    def _accepted(self, accepted: Accepted) -> None:
        if accepted.renewed:
            self.navigating.lesion_changed(accepted.surface)

    def tick(self) -> None:
        """One turn: what has come from the network, the worker and the background is taken, and shown where it belongs."""
        if self._closed:
            return
        self.background.poll()
        fresh, arrived = self.link.tick()
        if self._worker is not None:
            for event in self._worker.poll():
                if event.kind in ("log", "error"):
                    self.log.add(event.text, problem=event.kind == "error")
                    self.worker_said = event.text if event.kind == "error" else self.worker_said
        self.sweeps.tick()
        self.boxing.tick()
        self.seeding.tick()
        self.proposing.tick()
        if self.boxing.box is not None and (self.proposing.running or self.proposing.proposals):
            self.proposing.forget()
        self.rehearsal.tick()
        self.segmenting.tick()
        self.navigating.tick(fresh, arrived)
        self.outlining.tick(fresh)
        self._segment_by_itself()

    def _segment_by_itself(self) -> None:
        box = self.boxing.box
        if not self.automatic or box is None or not self.boxing.settled or (self.boxing.seen or 0.0) < 0.5:
            return
        if self._tried is None or not same_box(self._tried, box):
            result = self.segmenting.result
            grown = result is not None and result.method == GROWING
            if not self.reviewing.corrected_by_hand():  # a correction is given up only by a person
                self.do(self.grow if grown else self.segment, "segment")
            self._tried = box

    def states(self) -> dict[str, StepState]:
        """Step -> how it stands, in their order."""
        return {
            "connect": self.link.state(),
            "sweep": self.sweeps.state(),
            "box": self.proposing.state(self.boxing.state()),
            "segment": self.seeding.state(self.segmenting.state(self.boxing.box)),
            "review": self.reviewing.state(),
            "navigate": self.navigating.state(),
        }

    def next(self, states: Mapping[str, StepState] | None = None) -> tuple[str, str]:
        """(step, code of its action) that comes next; "" as action while something runs, or where all is done."""
        found = dict(states or self.states())
        if self.sweeps.recording:
            return "sweep", "stop_sweep"
        if found["navigate"].action == "confirm_sensor":
            return "navigate", "confirm_sensor"
        for name in ("sweep", "box", "segment", "review"):
            if found[name].state == RUNNING:
                return name, ""
        again = found["sweep"].action or found["connect"].action
        if found["sweep"].state == ATTENTION and self.boxing.box is None and found["sweep"].said.code in ("error", "sweep.refused"):
            return "sweep", again  # what is wrong with the sweep has to be read, not only stand in a step that is closed
        if self.boxing.volume is None:
            if found["connect"].state in (READY, RUNNING) or (found["connect"].state == ATTENTION and found["connect"].action):
                return "connect", found["connect"].action
            return ("sweep", found["sweep"].action) if found["sweep"].action else ("connect", found["connect"].action)
        for name in ("box", "segment", "review", "navigate"):
            if found[name].action:
                return name, found[name].action
        return "navigate", ""

    def close(self) -> None:
        """End processes, threads and the connection. A recording that goes on stays on disk, whole but for the last frames."""
        if self._closed:
            return
        self._closed = True
        self.stop_placing()
        self.nodes.remove_preview()
        self.outlining.stop()
        self.navigating.clear_live()
        connector.disconnect(self.scene)
        self.link.close()
        self.background.close()
        self.rehearsal.close()
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def wait(self, until: Callable[[], bool], seconds: float = 60.0) -> bool:
        """For scripts and tests without an event loop: tick until something holds; whether it does."""
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                return False
            self.tick()
            time.sleep(0.01)
        return True
