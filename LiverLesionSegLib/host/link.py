"""Step 1: the connection. Our receiver gets every message; the newest frame, its pose and the tools' states are what the panel shows."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from ..acquisition.assembly import AssemblySettings
from ..acquisition.frames import TrackedFrame
from ..acquisition.live_path import LivePath
from ..acquisition.live_volume import LiveVolumeSettings
from ..acquisition.quality_settings import QualitySettings
from ..acquisition.session import Session, SessionSettings, SessionStatus
from ..errors import CalibrationError, InputError, LinkError, SweepError
from ..navigation.tools import OK, UNKNOWN_TIP, ToolReading, ToolTip, tip_from_config
from ..reconstruction.settings import settings_for
from ..sweep.plus_config import PlusConfig, read_plus_config
from ..types import Calibration, FloatArray
from .background import Background
from .log import Log
from .state import ATTENTION, DONE, READY, RUNNING, StepState, step
from .tracking import FramePoses, Tools, tips_from_text, tips_to_text

PATIENCE_S = 4.0
SILENCE_S = 2.0
STATUS_S = 0.2


class Link:
    """One connection at a time. Methods are for the main thread; none waits for the network."""

    def __init__(self, background: Background, log: Log) -> None:
        self._background, self._log = background, log
        self.session: Session | None = None
        self.config: PlusConfig | None = None
        self.config_path = Path()
        self.address = ("", 0)
        self.tools: Tools | None = None
        self.frame: TrackedFrame | None = None
        self.pose: FloatArray | None = None
        self.pose_reason = ""
        self._since = self._status_at = 0.0
        self._status: SessionStatus | None = None
        self._path: LivePath | None = None
        self._arrived: deque[FramePoses] = deque(maxlen=400)
        self._taken: dict[str, ToolTip] = {}
        self._saved: dict[str, ToolTip] = {}

    def connect(self, host: str, port: int, config: str | Path, *, image: str = "") -> None:
        """Open the connection. image: device, "" for the first that sends images. Probe and liver sensor are those of the configuration.

        Raises CalibrationError for the configuration, LinkError for what is no address, or while there is a connection.
        """
        if self.session is not None:
            raise LinkError(f"{self.address[0]}:{self.address[1]} is connected already; disconnect first.")
        if not host.strip():
            raise LinkError("There is no host; type the name or address of the computer that runs PlusServer, such as localhost.")
        if not str(config).strip() or not Path(config).is_file():
            raise CalibrationError("There is no configuration file; choose the PLUS device-set configuration (XML) of this probe.")
        setup = read_plus_config(config)
        calibration = setup.calibration
        quality = QualitySettings(voxel_mm=min(setup.spacing_mm)) if setup.spacing_mm else QualitySettings()
        settings = SessionSettings(
            assembly=AssemblySettings(image=image or None), volume=LiveVolumeSettings(reconstruction=settings_for(setup)), quality=quality
        )
        self._arrived.clear()
        self.session = Session(host.strip(), port, settings, calibration=calibration, on_frame=self._on_frame)
        self.config, self.config_path, self.address = setup, Path(config), (host.strip(), port)
        self.tools, self._path = Tools(calibration), LivePath(calibration)
        self._since, self._status_at = time.monotonic(), 0.0
        self._log.add(f"connecting to {host}:{port} with {Path(config).name}")

    def disconnect(self) -> None:
        """Close the connection; a recording that goes on stays on disk as it is. Returns at once."""
        session, self.session = self.session, None
        if session is not None:
            self._log.add("disconnected")
            self._background.run(f"close {id(session)}", lambda cancelled: session.close(), lambda _: None, lambda _: None)
        self._forget()

    def close(self) -> None:
        """Close the connection and wait until its threads have ended."""
        session, self.session = self.session, None
        self._forget()
        if session is not None:
            session.close()

    def _forget(self) -> None:
        self.tools, self.frame, self.pose, self._status, self._path = None, None, None, None, None
        self.pose_reason = ""

    def _on_frame(self, frame: TrackedFrame) -> None:
        """On the session's thread."""
        self._arrived.append(FramePoses(frame.timestamp, time.monotonic(), frame.transforms, frame.statuses))

    def tick(self) -> tuple[bool, list[FramePoses]]:
        """Whether there is a new image to show, and the poses of every frame since the last call."""
        session, tools, path = self.session, self.tools, self._path
        if session is None or tools is None or path is None:
            return False, []
        arrived = [self._arrived.popleft() for _ in range(len(self._arrived))]
        for poses in arrived:
            tools.feed(poses)
            self._tips(tools)
        newest = session.newest_frame()
        fresh = newest is not None and newest is not self.frame
        if fresh and newest is not None:
            if self.frame is None:
                self._status_at = 0.0  # what was said before the first image is not true any more
            self.frame = newest
            try:
                found = path.pose(newest)
                self.pose, self.pose_reason = (None if found.reason else found.matrix), found.reason
            except SweepError as error:
                self.pose, self.pose_reason = None, str(error)
        elif self.pose is not None and self.silent():
            self.pose, self.pose_reason = None, "silence"
            fresh = True
        return fresh, arrived

    def _tips(self, tools: Tools) -> None:
        for name in tools.instruments():
            if not tools.asked_for_tip(name):
                tools.set_tip(name, self._tip(tools, name))

    def _tip(self, tools: Tools, name: str) -> ToolTip | None:
        """The one that was taken by hand, else the scene's, else the configuration's."""
        known = self._taken.get(name) or self._saved.get(name)
        if known is not None:
            return known
        try:
            return tip_from_config(tools.calibration, name)
        except CalibrationError:
            return None

    def take_tip(self, tool: str, tip: ToolTip) -> None:
        """A tip that was calibrated here: it stays with its tool through every connection, before what a scene or a configuration says of it."""
        tip = replace(tip, source=f"{tip.source}, {datetime.now():%Y-%m-%d %H:%M}")
        self._taken[tool] = tip
        if self.tools is not None:
            self.tools.set_tip(tool, tip)
        self._log.add(f"tip of {tool} taken: {tip.source}")

    def put_saved_tips(self, text: str) -> None:
        """The tips of the scene that is open, as `saved_tips` gave them. Raises CalibrationError for another text; then the scene has none."""
        self._saved = {}
        try:
            self._saved = tips_from_text(text)
        finally:
            if (tools := self.tools) is not None:
                for name in tools.instruments():
                    tools.set_tip(name, self._tip(tools, name))

    def saved_tips(self) -> str:
        """What has to be saved with the scene; "" where no tip was taken."""
        return tips_to_text({**self._saved, **self._taken})

    def silent(self) -> bool:
        """Whether images have stopped coming."""
        status = self.status()
        return status is None or not status.receiver.connected or status.receiver.image_silence_s > SILENCE_S / 2

    def status(self, *, now: bool = False) -> SessionStatus | None:
        """What the session says, at most STATUS_S old."""
        if self.session is None:
            return None
        moment = time.monotonic()
        if now or self._status is None or moment - self._status_at > STATUS_S:
            self._status, self._status_at = self.session.status(), moment
        return self._status

    def readings(self) -> dict[str, ToolReading]:
        """Tool -> how it is tracked."""
        tools, now = self.tools, time.monotonic()
        return {} if tools is None else {name: tools.reading(name, now) for name in tools.names}

    def image_devices(self) -> list[str]:
        """Names of the devices that send images, in order of coming."""
        status = self.status()
        return [] if status is None else list(status.assembly.image_devices)

    def not_tracked(self) -> list[str]:
        """Names of the tools whose position cannot be believed now."""
        return [name for name, reading in self.readings().items() if reading.state not in (OK, UNKNOWN_TIP)]

    def missing(self) -> str:
        """What an image without a place lacks, by name."""
        if self.config is None:
            return ""
        needed = (self.config.calibration.probe_frame, self.config.calibration.reference_frame)
        bad = [name for name in self.not_tracked() if name in needed]
        return ", ".join(bad or needed)

    def need(self) -> Session:
        """The session. Raises LinkError without one that receives."""
        if self.session is None:
            raise LinkError("There is no connection; connect to the tracker's server first.")
        return self.session

    def state(self) -> StepState:
        """Where the connection stands."""
        status = self.status()
        if status is None:
            return step(READY, "connect.none", "connect")
        host, port = self.address
        receiver = status.receiver
        waited = time.monotonic() - self._since
        if not receiver.connected:
            if self.frame is None and waited < PATIENCE_S:
                return step(RUNNING, "connect.waiting", cancel=True, host=host, port=port)
            details = [receiver.last_error] if receiver.last_error else []
            if self.frame is not None:
                return step(ATTENTION, "connect.gone", details=details, host=host, port=port)
            return step(ATTENTION, "connect.no_server", "disconnect", details=details, host=host, port=port)
        if self.frame is None or receiver.image_silence_s > SILENCE_S:
            if self.frame is None and waited < PATIENCE_S:
                return step(RUNNING, "connect.waiting", cancel=True, host=host, port=port)
            return step(ATTENTION, "connect.no_images", seconds=receiver.image_silence_s)
        bad = self.not_tracked()
        if self.pose is None:
            return step(ATTENTION, "connect.no_pose", tools=self.missing(), details=[self.pose_reason])
        dropped = receiver.images_lost
        details = [f"{reason}: {count}" for reason, count in receiver.dropped.items()] if dropped else []
        return step(DONE, "connect.live", fps=receiver.fps, tools=", ".join(bad), details=details)


def warm_up(config: PlusConfig | None = None) -> None:
    """Load what is compiled, which stops the interface for a tenth of a second, before there is a recording or navigation that it would disturb.

    config: what a sweep will be reconstructed with; the usual settings without it.
    """
    from ..navigation.distance import prepare_distances
    from ..reconstruction import ReconstructionSettings, Reconstructor

    usual = settings_for(config) if config is not None else ReconstructionSettings()
    settings = replace(usual, spacing_mm=1.0, hole_filling=None, threads=1)
    reconstructor = Reconstructor(Calibration(np.diag([0.5, 0.5, 0.5, 1.0])), settings)
    for step_mm in (0.0, 1.0):
        pose = np.eye(4)
        pose[2, 3] = step_mm
        reconstructor.add(np.full((32, 32), 7, np.uint8), pose)
    reconstructor.preview(10_000)
    prepare_distances()


def open_config(path: str | Path) -> PlusConfig:
    """The configuration for a sweep from a file. Raises CalibrationError."""
    if not str(path).strip() or not Path(path).is_file():
        raise CalibrationError("There is no configuration file; choose the PLUS device-set configuration (XML) that the sweep was recorded with.")
    try:
        return read_plus_config(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); choose another configuration.") from error
