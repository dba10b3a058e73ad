"""The session: from a sender in another process to file, live volume and findings, without loss and with true poses."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from _acquisition_load import CALIBRATION, run_load, serving, until
from _numbered_frames import judge, numbers_of_image
from link_cases import ScriptedServer, image, sends, transform

from LiverLesionSegLib.acquisition.live_volume import LiveVolumeSettings
from LiverLesionSegLib.acquisition.replay import ReplayServer, ReplaySettings
from LiverLesionSegLib.acquisition.session import Session, SessionSettings
from LiverLesionSegLib.errors import InputError, OutputError, SweepError
from LiverLesionSegLib.reconstruction import reconstruct
from LiverLesionSegLib.sweep import frame_poses, read_plus_config, read_sweep
from LiverLesionSegLib.sweep.journal_format import JournalReader
from LiverLesionSegLib.sweep.leftovers import journal_path

SMALL = (48, 64)


def test_load_in_short_form(tmp_path):
    """60 frames/s of 800x600 with 3 transforms, the consumer stalling at random, recorded and reconstructed."""
    load = run_load(tmp_path, seconds=2.0)
    assert (load.judged.received, load.judged.lost, load.judged.mismatched, load.judged.incomplete) == (120, 0, 0, 0)
    assert load.stalls > 0
    assert not load.status.receiver.dropped
    volume = load.status.volume
    assert volume.added + volume.waiting + volume.behind == volume.offered == 120
    assert load.status.volume.previews > 0
    assert load.final_frames == 120
    assert load.status.quality.frames == 120
    assert load.status.problem == ""


@pytest.fixture
def sender(tmp_path):
    with serving(tmp_path, frames=20_000, shape=SMALL, fps=200.0) as process:  # more than any test takes, on the busiest computer
        yield process


def a_session(sender, **more):
    return Session("127.0.0.1", sender.port, calibration=CALIBRATION, **more)


def test_states_frames_and_the_final_volume_of_the_file(tmp_path, sender):
    with a_session(sender) as session:
        assert session.status().state == "connecting"
        assert session.newest_frame() is None
        assert session.preview() is None
        until(lambda: session.status().receiver.connected)
        sender.tell()
        until(lambda: session.status().state == "receiving")
        session.start_recording(tmp_path / "a.igs.mha", frames=50)
        with pytest.raises(OutputError, match="not stopped yet"):
            session.start_recording(tmp_path / "b.igs.mha")
        assert session.status().state in ("recording", "stopped")
        until(lambda: session.status().state == "stopped")
        assert session.stop() == tmp_path / "a.igs.mha"
        status = session.status()
        assert (status.state, status.frames, status.recorder, status.problem) == ("receiving", 50, None, "")
        recording = read_sweep(tmp_path / "a.igs.mha")
        first = numbers_of_image(recording.images[0])[0]
        assert [numbers_of_image(image)[0] for image in recording.images] == list(range(first, first + 50))
        assert judge(recording, 0).mismatched == 0
        session._volume.wait()
        status = session.status()
        assert status.volume.added == frame_poses(recording, CALIBRATION).usable.sum() == 50
        assert status.quality.frames == 50
        assert session.preview() is not None
        final, expected = session.final_volume(), reconstruct(recording, CALIBRATION)
        np.testing.assert_array_equal(final.volume.array, expected.volume.array)
        np.testing.assert_array_equal(final.volume.weight, expected.volume.weight)
        assert session.newest_frame().image.shape == SMALL
    assert session.status().state == "closed"
    with pytest.raises(OutputError, match="closed"):
        session.start_recording(tmp_path / "c.igs.mha")


@pytest.mark.parametrize("recording", ["spine", "nwire"])
def test_a_real_sweep_replayed_recorded_and_reconstructed(request, tmp_path, recording):
    """Through sockets, with poses that were invalid and so are not sent: the same frames count, and live and final volume are those of the file."""
    original = read_sweep(request.getfixturevalue(f"{recording}_sweep_path"))
    calibration = read_plus_config(request.getfixturevalue(f"{recording}_config_path")).calibration
    lost = np.zeros(len(original), dtype=bool)
    lost[[5, 6, 20]] = True
    statuses = {name: ok & ~lost if name == "ProbeToTracker" else ok for name, ok in original.statuses.items()}
    original = replace(original, statuses=statuses)
    settings = SessionSettings(volume=LiveVolumeSettings(preview_voxels=10**8, queue_bytes=2**30))
    with (
        ReplayServer(original, ReplaySettings(port=0, fps=np.inf, wait=True), calibration) as server,
        Session("127.0.0.1", server.port, settings, calibration=calibration, record_to=tmp_path / "a.seq.nrrd", frames=len(original)) as session,
    ):
        until(lambda: session.status().state == "stopped")
        path = session.stop()
        assert session._volume.wait()
        final, live, status = session.final_volume(), session.preview(), session.status()
    recorded = read_sweep(path)
    np.testing.assert_array_equal(recorded.images, original.images)
    poses, expected = frame_poses(recorded, calibration), frame_poses(original, calibration)
    np.testing.assert_array_equal(poses.usable, expected.usable & ~lost)
    np.testing.assert_allclose(poses.image_to_reference[poses.usable], expected.image_to_reference[poses.usable], atol=1e-3)  # float32 on the wire
    from_file = reconstruct(read_sweep(path), calibration)
    np.testing.assert_array_equal(final.volume.array, from_file.volume.array)
    np.testing.assert_array_equal(final.volume.weight, from_file.volume.weight)
    assert status.volume.added == final.frames_used == poses.usable.sum()
    same_lattice = reconstruct(recorded, calibration, grid=live.grid).volume
    inner = (slice(1, -1),) * 3
    assert (live.array != same_lattice.array)[inner].mean() < 1e-3


def test_pause_resume_discard_and_record_again(tmp_path, sender):
    with a_session(sender) as session:
        until(lambda: session.status().receiver.connected)
        for act in (session.stop, session.discard, session.final_volume):
            with pytest.raises(OutputError):
                act()
        sender.tell()
        session.start_recording(tmp_path / "a.igs.mha")
        until(lambda: session.status().frames >= 20)
        session.pause()
        assert session.status().state == "paused"
        time.sleep(0.1)
        session.resume()
        assert session.status().state == "recording"
        until(lambda: session.status().frames >= 60)
        session.stop()
        recording = read_sweep(tmp_path / "a.igs.mha")
        numbers = [numbers_of_image(image)[0] for image in recording.images]
        assert sum(np.diff(numbers) > 1) == 1, "one gap, the pause"
        assert judge(recording, 0).mismatched == 0
        session.start_recording(tmp_path / "b.igs.mha")
        until(lambda: session.status().frames >= 5)
        session.discard()
        assert sorted(path.name for path in tmp_path.glob("*.igs.mha*")) == ["a.igs.mha"]
        assert session.preview() is None
        session.start_recording(tmp_path / "b.igs.mha")
        until(lambda: session.status().frames >= 5)
        session.stop()
        assert session.status().volume.offered == len(read_sweep(tmp_path / "b.igs.mha"))


def test_stop_takes_what_had_arrived(tmp_path):
    """The consumer is far behind when the recording is stopped; nothing that waits in the receiver's queue is lost."""
    hold = threading.Event()
    with (
        serving(tmp_path, frames=100, shape=SMALL, fps=0.0) as sender,
        Session("127.0.0.1", sender.port, on_frame=lambda frame: hold.wait(10)) as session,
    ):
        until(lambda: session.status().receiver.connected)
        session.start_recording(tmp_path / "a.igs.mha")
        sender.tell()
        sender.done()
        until(lambda: session.status().receiver.received.get("TRANSFORM", 0) == 300)
        assert session.status().receiver.queue_depth > 300
        threading.Timer(0.2, hold.set).start()
        session.stop()
        assert session.status().volume is session.preview() is session.status().quality is None
    assert judge(read_sweep(tmp_path / "a.igs.mha"), 100).lost == 0


def test_stop_does_not_wait_for_poses_that_never_come(tmp_path, spine_sweep_path):
    """A tool out of sight: every image waits for the next one."""
    original = read_sweep(spine_sweep_path)
    statuses = {name: ok & (np.arange(len(original)) < 10) if name == "ProbeToTracker" else ok for name, ok in original.statuses.items()}
    with (
        ReplayServer(replace(original, statuses=statuses), ReplaySettings(port=0, fps=100.0, loop=True, wait=True)) as server,
        Session("127.0.0.1", server.port, record_to=tmp_path / "a.igs.mha") as session,
    ):
        until(lambda: session.status().frames >= 20)
        session._drain(session._recorder)
        assert session._drained.is_set(), "not only because waiting has a limit"
        session.stop()


def test_what_cannot_be_recorded_is_refused_and_the_session_goes_on(tmp_path, sender):
    with a_session(sender) as session:
        until(lambda: session.status().receiver.connected)
        with pytest.raises(InputError):
            session.start_recording(tmp_path / "nowhere" / "a.igs.mha")
        with pytest.raises(InputError):
            session.start_recording(tmp_path / "a.jpg")
        session.start_recording(tmp_path / "a.igs.mha")
        with pytest.raises(SweepError, match="no frame"):
            session.stop()
        sender.tell()
        session.start_recording(tmp_path / "a.igs.mha")
        until(lambda: session.status().frames >= 5)
        session.stop()


def test_closing_leaves_an_unfinished_recording_that_can_be_read(tmp_path, sender):
    with a_session(sender) as session:
        until(lambda: session.status().receiver.connected)
        sender.tell()
        session.start_recording(tmp_path / "a.igs.mha")
        until(lambda: session.status().frames >= 5)
    assert not (tmp_path / "a.igs.mha").exists()
    assert len(read_sweep(tmp_path / "a.igs.mha")) == session.status().frames


def images_in(journal):
    with JournalReader(journal) as reader:
        return len(reader.frames)


def test_an_image_whose_frame_still_waits_is_on_the_disk(tmp_path):
    """Two images say nothing of how poses are matched to images; a third may never come before a kill."""
    parts = [part for n in range(2) for part in (image("Image_Reference", n, timestamp=1.7e9 + n), transform("ProbeToTracker", n, 1.7e9 + n))]
    path = tmp_path / "a.igs.mha"
    with ScriptedServer(sends(*parts)) as server, Session("127.0.0.1", server.port, record_to=path) as session:
        until(lambda: images_in(journal_path(path)) == 2)
        sweep = read_sweep(path)  # as after a kill
        np.testing.assert_array_equal(sweep.transforms["ProbeToTracker"][:, 0, 3], [0, 1])
        assert sweep.statuses["ProbeToTracker"].all()
        session.stop()
        assert session.last_recording().frames == 2
    assert len(read_sweep(path)) == 2


def test_no_server_is_said_and_closing_is_quick(tmp_path):
    with Session("127.0.0.1", 1) as session:
        until(lambda: session.status().receiver.last_error is not None)
        assert session.status().state == "connecting"
    assert session.status().state == "closed"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_in_the_consumer_is_said(tmp_path, sender):
    def fails(frame):
        raise ZeroDivisionError

    with a_session(sender, on_frame=fails) as session:
        until(lambda: session.status().receiver.connected)
        session.start_recording(tmp_path / "a.igs.mha")
        sender.tell()
        until(lambda: "defect" in session.status().problem)
        session.stop()
    assert len(read_sweep(tmp_path / "a.igs.mha")) >= 1


def test_settings_reach_their_parts():
    settings = SessionSettings()
    with Session("127.0.0.1", 1, settings) as session:
        assert session.receiver.settings is settings.receiver
