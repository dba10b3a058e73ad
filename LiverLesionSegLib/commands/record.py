"""`record --host H --port P --output SWEEP`: records a live sweep over OpenIGTLink, without loss."""

from __future__ import annotations

import argparse
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import count, positive_number
from .run import Run
from .stop_signals import stop_signals

if TYPE_CHECKING:
    from ..acquisition.recorder import RecorderState
    from ..acquisition.session import Session, SessionStatus

LOOK_S = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SIGINT and SIGTERM are how a recording is ended, so they are no failure here."""
    parser.description = (
        "Records a live sweep from PlusServer, or any other OpenIGTLink sender, until Ctrl-C (or SIGTERM, --frames, --seconds), and finishes the "
        "file. While it runs, every frame goes to SWEEP.recording at once: whatever ends it, check and reconstruct open what is there under the name "
        "SWEEP, and --recover finishes it."
    )
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="computer of the sender (127.0.0.1)")
    parser.add_argument("--port", type=_port, default=18944, metavar="P", help="its port (18944, PlusServer's)")
    parser.add_argument("--output", type=Path, required=True, metavar="SWEEP", help=".igs.mha, .igs.mhd, .igs.nrrd or .seq.nrrd; never replaced")
    parser.add_argument("--frames", type=count, metavar="N", help="end after so many frames")
    parser.add_argument("--seconds", type=positive_number, metavar="S", help="end so long after the first frame, or after the start if none comes")
    parser.add_argument("--image", metavar="NAME", help="image device to record, where there are several (the first that sends)")
    parser.add_argument("--tracking-data", action="store_true", help="ask for TDATA, for trackers that send only when asked")
    matching = parser.add_argument_group("how images and poses are matched")
    matching.add_argument("--mode", choices=("auto", "equal", "interpolate"), default="auto", help="by equal times (PlusServer) or between times")
    matching.add_argument("--time-offset", type=_offset, default=0.0, metavar="S", help="added to the poses' times; interpolate only (0)")
    matching.add_argument("--by-arrival", action="store_true", help="interpolate by the times of arrival, for clocks that are not synchronised")
    parser.add_argument("--header", type=int, choices=(1, 2, 3), default=2, help="header version to announce; 1 for senders of protocol 2 (2)")
    parser.add_argument("--compress", action="store_true", help="compress the finished file: smaller, but finishing takes longer")
    parser.add_argument("--recover", action="store_true", help="finish the recording to SWEEP that was cut off, and record nothing")


def run(options: argparse.Namespace, run: Run) -> int:
    """Exit 0 for a recording with at least one frame, however it was ended."""
    stop = threading.Event()
    with stop_signals(stop):
        if options.recover:
            return _recover(options, run)
        return _record(options, run, stop)


def _record(options: argparse.Namespace, run: Run, stop: threading.Event) -> int:
    from ..acquisition.assembly import AssemblySettings
    from ..acquisition.receiver import ReceiverSettings
    from ..acquisition.recorder import RecorderSettings
    from ..acquisition.session import Session, SessionSettings
    from ..errors import SweepError

    settings = SessionSettings(
        receiver=ReceiverSettings(header_version=options.header, tracking_ms=0 if options.tracking_data else None),
        assembly=AssemblySettings(options.mode, options.image, time_offset_s=options.time_offset, by_arrival=options.by_arrival),
        recorder=RecorderSettings(compress=options.compress),
    )
    with Session(options.host, options.port, settings, record_to=options.output, frames=options.frames) as session:
        with run.stage("record"):
            ended = _wait(session, options, run, stop)
        try:
            with run.stage("write"):
                run.output("sweep", session.stop(run.progress))
        except SweepError as error:
            raise SweepError(_nothing(error, options, session.status())) from error
        recorded = session.last_recording()
        assert recorded is not None
        _tell(run, recorded, session.status(), ended)
    return 0


def _wait(session: Session, options: argparse.Namespace, run: Run, stop: threading.Event) -> str:
    """Until something ends the recording; returns what did."""
    began: float | None = None
    start = time.monotonic()
    while not stop.wait(LOOK_S):
        status = session.status()
        if began is None and status.frames:
            began = time.monotonic()
        elapsed = time.monotonic() - (began or start)
        if status.state == "stopped":
            return "itself" if status.problem else "frames"
        if options.seconds is not None and elapsed >= options.seconds:
            return "seconds"
        done = max(status.frames / options.frames if options.frames else 0.0, elapsed / options.seconds if options.seconds and began else 0.0)
        run.progress(done, _line(status))
    return "signal"


def _line(status: SessionStatus) -> str:
    if not status.receiver.connected:
        return f"{status.frames} frames; {status.receiver.last_error or 'connecting'}"
    if not status.frames:
        return "connected; no image has come yet"
    notes = " ".join(status.recorder.notes) if status.recorder is not None else ""
    return status.problem or f"{status.frames} frames, {status.receiver.fps:.1f} a second. {notes}".strip()


def _nothing(error: Exception, options: argparse.Namespace, status: SessionStatus) -> str:
    """Why no frame arrived, as far as that is known."""
    where = f"{options.output}: no frame arrived from {options.host}:{options.port}, so nothing was recorded"
    refused = [note for note in status.assembly.notes if "refused" in note]
    if status.assembly.dropped.get("other image stream") and not status.assembly.frames:
        return f"{where}; images came, but none of the device “{options.image}”: correct --image."
    if status.receiver.dropped.get("wrong CRC"):
        return f"{where}; messages came, but their checksums (CRC) are wrong: have the sender write them, or find what changes its data."
    if status.receiver.last_error and not status.receiver.received:
        return f"{where}; {status.receiver.last_error}"
    return f"{where}; {refused[0]}" if refused else str(error)


def _tell(run: Run, recorded: RecorderState, status: SessionStatus, ended: str) -> None:
    dropped = Counter(dict(recorded.dropped)) + Counter(dict(status.receiver.dropped)) + Counter(dict(status.assembly.dropped))
    lost = sum(recorded.dropped.values()) + status.receiver.images_lost
    lost += sum(number for reason, number in status.assembly.dropped.items() if reason.startswith(("image of", "empty image")))
    warnings = [*([recorded.notice] if recorded.notice else []), *recorded.notes, *status.assembly.notes]
    found: dict[str, Any] = {
        "frames": recorded.frames,
        "lost": lost,
        "dropped": dict(dropped),
        "reconnects": status.receiver.reconnects,
        "ended": ended,
        "image_device": status.assembly.image,
        "poses": {"mode": status.assembly.mode, "ok": dict(status.assembly.poses_ok), "not_ok": dict(status.assembly.poses_not_ok)},
        "stream_offset_ms": round(1000 * status.assembly.stream_offset_s, 3) if status.assembly.stream_offset_s is not None else None,
        "warnings": warnings,
    }
    run.found.update(found)
    run.summary.append(f"{recorded.frames} frames recorded, {lost} lost, {status.receiver.reconnects} reconnects")
    run.summary += [f"{number} dropped: {reason}" for reason, number in dropped.items()]
    run.summary += warnings


def _recover(options: argparse.Namespace, run: Run) -> int:
    from ..acquisition.finalise import recover

    with run.stage("write"):
        frames, notes = recover(options.output, compress=options.compress, progress=run.progress)
    run.output("sweep", options.output)
    run.found.update(frames=frames, lost=0, dropped={}, reconnects=0, ended="recovered", warnings=list(notes))
    run.summary += [f"{frames} frames recovered", *notes]
    return 0


def _offset(text: str) -> float:
    try:
        return float(text)  # how much is sensible is for the settings to say
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds") from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text} is no port; give 1 to 65535")
    return int(text)
