"""A recorded sweep served over OpenIGTLink as PlusServer serves a live one.

As PlusServer (vtkPlusOpenIGTLinkServer.cxx): it does not wait for anyone, whoever connects gets what follows; every message of a frame has the same
time stamp; a STATUS follows 0.25 s after the last packet; header version 1 until a client has sent a higher one, then at most 2; invalid transforms
are not sent unless asked for; TDATA only on request. Unlike PlusServer, which sends to all clients in turn and so lets one slow client hold up the
others, every client has a bounded queue of its own and loses the oldest waiting frames, whole and counted.
"""

from __future__ import annotations

import contextlib
import errno
import math
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from types import TracebackType

import numpy as np

from ..errors import LinkError, SweepError
from ..types import Calibration, Sweep
from . import wire
from ._replay_client import REQUEST_KINDS, ReplayClient
from ._replay_packets import Packets, packets, timeline
from ._replay_requests import OK_CODE, answers
from ._replay_settings import HIGHEST_HEADER, ReplayCounters, ReplaySettings
from .messages import StatusMessage

__all__ = ["ReplayCounters", "ReplayServer", "ReplaySettings"]

FRAMES_A_TURN = 8
UNPACED_AHEAD = 3
SMALLEST_STEP_S = 1e-6
FAREWELL_S = 0.5
GREETING_S = 0.1
TIME_LIMIT_S = 2.0**32 - 1


class ReplayServer:
    """Serves while the `with` block runs, in a thread of its own that does all: accepting, timing, sending, receiving.

    sweep: what is served; calibration: for the transform embedded in the images, see `packets`. clock, wall_clock: s, the first never stepping back,
    the second UTC since 1970. Raises SweepError for a sweep that cannot be served, LinkError where the address or the port cannot be had.
    """

    def __init__(
        self,
        sweep: Sweep,
        settings: ReplaySettings | None = None,
        calibration: Calibration | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings = settings or ReplaySettings()
        self.packets: Packets = packets(sweep, calibration, settings.image_device, settings.send_invalid)
        self._timeline = timeline(sweep, settings.fps)
        times = sweep.timestamps[np.isfinite(sweep.timestamps)]
        if settings.original_times and not ((times >= 0) & (times < TIME_LIMIT_S)).all():
            raise SweepError(f"{sweep.source or 'sweep'}: holds times that OpenIGTLink cannot carry; replay it without the original times.")
        # PlusServer's has no name, no time, and header version 1 for everybody.
        self._keep_alive = wire.pack(StatusMessage("", code=OK_CODE, subcode=0, name="", text=""))
        self._sweep, self._clock, self._wall_clock = sweep, clock, wall_clock
        self._unpaced = settings.fps is not None and math.isinf(settings.fps)
        self._clients: list[ReplayClient] = []
        self._gone = Counter[str]()
        self._counts = Counter[str]()
        self._dropped, self._requests, self._rejected = Counter[str](), Counter[str](), Counter[str]()
        self._frame = self._pass = 0
        self._begun = self._pass_served = self._finished = False
        self._pass_start = self._wall_start = self._last_stamp = 0.0
        self._file_length = _file_length(sweep)
        self._stopping = threading.Event()
        self._listener = _listen(settings)
        self.port: int = self._listener.getsockname()[1]
        self._wake_read, self._wake_write = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        for end in (self._listener, self._wake_read):
            end.setblocking(False)
            self._selector.register(end, selectors.EVENT_READ)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="replay")
        self._work: Future[None] | None = None

    def __enter__(self) -> ReplayServer:
        self._work = self._executor.submit(self._serve)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def clients(self) -> int:
        """How many are connected now."""
        return len(self._clients)

    @property
    def sent(self) -> int:
        """Frames sent or waiting to be sent, each counted once for every client."""
        return self.counters().sent

    def counters(self) -> ReplayCounters:
        """What has happened so far."""
        clients = tuple(self._clients)
        lost = self._gone["lost"] + sum(c.lost for c in clients)
        return ReplayCounters(
            frames=self._counts["frames"],
            passes=self._counts["passes"],
            clients=len(clients),
            served=self._gone["served"] + sum(c.frames > 0 for c in clients),
            sent=self._gone["frames"] + sum(c.frames for c in clients) - lost,
            lost=lost,
            refused=self._counts["refused"],
            dropped=dict(self._dropped),
            requests=dict(self._requests),
            rejected=dict(self._rejected),
        )

    def wait(self, timeout_s: float | None = None) -> bool:
        """Until the last frame has been sent to everyone; False when that has not happened within the time."""
        if self._work is None:
            return False
        try:
            self._work.result(timeout_s)
        except FutureTimeout:
            return False
        return True

    def close(self) -> None:
        """End now: what is half sent is finished for at most half a second, the rest is not sent."""
        self._stopping.set()
        with contextlib.suppress(OSError):  # the thread may have ended and closed it
            self._wake_write.send(b"x")
        if self._work is None:
            self._release()
        self._executor.shutdown()
        if self._work is not None:
            self._work.result()

    # from here on everything runs in the server's thread

    def _serve(self) -> None:
        try:
            while not (self._stopping.is_set() or self._finished):
                self._play()
                self._turn(self._seconds_to_next())
            self._drain()
        finally:
            self._release()

    def _release(self) -> None:
        for client in tuple(self._clients):
            self._remove(client)
        for end in (self._listener, self._wake_read, self._wake_write):
            end.close()
        self._selector.close()

    def _turn(self, timeout_s: float) -> None:
        for key, events in self._selector.select(max(timeout_s, 0.0)):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._wake_read:
                self._wake_read.recv(64)
            else:
                client: ReplayClient = key.data
                if events & selectors.EVENT_WRITE:
                    self._send(client)
                if events & selectors.EVENT_READ and client in self._clients:
                    self._receive(client)
        now = self._clock()
        for client in tuple(self._clients):
            if not client.idle and now - client.last_progress > self.settings.stall_s:
                self._drop(client, "takes nothing")
            elif client.idle and not client.ended and now - client.last_queued >= self.settings.keep_alive_s:
                client.queue_reply(self._keep_alive, now)
                self._send(client)

    def _seconds_to_next(self) -> float:
        if self._finished:
            return 0.0
        now = self._clock()
        keep_alive = min((c.last_queued + self.settings.keep_alive_s for c in self._clients if c.idle), default=math.inf)
        stall = min((c.last_progress + self.settings.stall_s for c in self._clients if not c.idle), default=math.inf)
        frame = math.inf
        if not self._begun:
            frame = min((c.connected + GREETING_S for c in self._clients), default=math.inf)
        elif self._unpaced:
            frame = now if self._clients and self._has_room() else math.inf
        else:
            frame = self._pass_start + float(self._timeline.due[self._frame])
        return min(keep_alive - now, stall - now, frame - now, 1.0)

    def _has_room(self) -> bool:
        return all(client.waiting_frames < UNPACED_AHEAD for client in self._clients)

    def _play(self) -> None:
        """Queue the frames that are due, a few at most, so that connections are looked after, too."""
        now = self._clock()
        if not self._begun:
            if self.settings.wait and not any(c.announced or now - c.connected >= GREETING_S for c in self._clients):
                return
            self._begin_pass(now)
            self._wall_start = self._wall_clock()
        for _ in range(FRAMES_A_TURN):
            if self._finished or not self._due(now):
                return
            if self._clients:
                self._send_frame(now)
            self._counts["frames"] += 1
            self._frame += 1
            if self._frame == len(self._sweep):
                if self._pass_served and not self.settings.loop:
                    self._finished = True
                    return
                self._wall_start += self._timeline.length
                self._pass += 1
                self._begin_pass(self._pass_start + self._timeline.length)

    def _begin_pass(self, start: float) -> None:
        self._begun, self._pass_start, self._frame, self._pass_served = True, start, 0, False
        self._counts["passes"] += 1

    def _due(self, now: float) -> bool:
        if self._unpaced:
            return bool(self._clients) and self._has_room()
        return self._pass_start + float(self._timeline.due[self._frame]) <= now

    def _stamp(self) -> float:
        if self.settings.original_times:
            original = float(self._sweep.timestamps[self._frame])
            return original + self._pass * self._file_length if math.isfinite(original) else 0.0
        if self._unpaced:
            self._last_stamp = max(self._wall_clock(), self._last_stamp + SMALLEST_STEP_S)
            return self._last_stamp
        return self._wall_start + float(self._timeline.stamps[self._frame])

    def _send_frame(self, now: float) -> None:
        stamp = self._stamp()
        transforms = self.packets.transforms(self._frame, stamp)
        packed: dict[int, list[bytes]] = {}
        for client in tuple(self._clients):
            if client.version not in packed:
                image = self.packets.image(self._frame, stamp, client.version)
                poses = b"".join(wire.pack(message, version=client.version) for message in transforms)
                packed[client.version] = [wire.pack(image, version=client.version) if image else b"", poses]
            pieces = packed[client.version]
            if client.interval_s is not None and not _within(client.last_tracking_stamp, stamp, client.interval_s):
                client.last_tracking_stamp = stamp
                pieces = [*pieces, wire.pack(self.packets.tracking_data(self._frame, stamp), version=client.version)]
            if any(pieces):
                client.queue_frame(pieces, now, self.settings.queue_bytes)
            self._pass_served = True
            self._send(client)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
            if len(self._clients) >= self.settings.most_clients:
                self._counts["refused"] += 1
                connection.close()
                return
            client = ReplayClient(connection, self.settings.header, self._clock())
        except OSError:  # it has gone again
            return
        self._clients.append(client)
        self._selector.register(connection, selectors.EVENT_READ, client)

    def _send(self, client: ReplayClient) -> None:
        try:
            client.send(self._clock())
        except OSError:
            self._remove(client)
            return
        events = selectors.EVENT_READ if client.idle else selectors.EVENT_READ | selectors.EVENT_WRITE
        if self._selector.get_key(client.connection).events != events:
            self._selector.modify(client.connection, events, client)

    def _receive(self, client: ReplayClient) -> None:
        try:
            for header, body in client.receive():
                client.announced = True
                client.version = max(client.version, min(header.version, HIGHEST_HEADER))
                self._requests[header.kind if header.kind in REQUEST_KINDS else "other"] += 1
                if header.kind not in REQUEST_KINDS:
                    continue
                try:
                    replies = answers(wire.unpack(header, body, self._clock()), client)
                    packed = [wire.pack(reply, version=client.version) for reply in replies]
                except wire.ContentError as error:
                    self._rejected[error.reason] += 1
                    continue
                for reply in packed:
                    client.queue_reply(reply, self._clock())
        except wire.FramingError as error:
            self._drop(client, error.reason)
        except (OSError, EOFError):
            self._remove(client)
        else:
            if not client.idle:
                self._send(client)

    def _drop(self, client: ReplayClient, reason: str) -> None:
        self._dropped[reason] += 1
        self._remove(client)

    def _remove(self, client: ReplayClient) -> None:
        if client not in self._clients:
            return
        self._clients.remove(client)
        self._gone.update(frames=client.frames, lost=client.lost, served=int(client.frames > 0))
        self._selector.unregister(client.connection)
        client.connection.close()

    def _drain(self) -> None:
        """Send everyone what waits (only what is half sent, once it has to stop) and end each connection so that its last bytes arrive.

        Closing at once would reset a connection that holds unread input, and with it what the peer has not read yet.
        """
        self._selector.unregister(self._listener)
        self._listener.close()
        until, hurried = math.inf, False
        while self._clients:
            now = self._clock()
            if self._stopping.is_set() and not hurried:
                until, hurried = min(until, now + FAREWELL_S), True
                for client in self._clients:
                    client.drop_waiting()
            for client in tuple(self._clients):
                if client.idle and not client.ended:
                    client.ended = True
                    with contextlib.suppress(OSError):
                        client.connection.shutdown(socket.SHUT_WR)
            if all(client.ended for client in self._clients):
                until = min(until, now + FAREWELL_S)
            if now >= until:
                return
            self._turn(0.02)


def _within(last: float | None, stamp: float, interval_s: float) -> bool:
    """Whether `stamp` is too soon after `last`; half a microsecond is lost in fixed-point stamps and does not count."""
    return last is not None and last <= stamp < last + interval_s - SMALLEST_STEP_S / 2


def _file_length(sweep: Sweep) -> float:
    """s from the first to behind the last of a recording's own times."""
    times = sweep.timestamps[np.isfinite(sweep.timestamps)]
    steps = np.diff(times)
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    return float(np.ptp(times)) + usual if times.size else 0.0


def _listen(settings: ReplaySettings) -> socket.socket:
    try:
        socket.getaddrinfo(settings.host, settings.port, socket.AF_INET)
        return socket.create_server((settings.host, settings.port), backlog=settings.most_clients)
    except OSError as error:
        where, why = f"port {settings.port} of {settings.host}", error.strerror or error
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise LinkError(f"{settings.host} is no address of this computer ({why}); give 127.0.0.1, or 0.0.0.0 for all it has.") from error
        if error.errno == errno.EADDRINUSE:
            raise LinkError(f"{where} is in use; end the program that has it, or choose another port (0: any free one).") from error
        raise LinkError(f"{where} cannot be listened on ({why}); choose another address or port.") from error
