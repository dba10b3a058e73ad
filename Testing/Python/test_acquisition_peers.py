"""Other implementations of OpenIGTLink, both ways: pyigtl, and the C++ library's own examples as Debian packages them (protocol 2)."""

from __future__ import annotations

import hashlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from link_cases import ScriptedServer, sends, take, wait_until

from LiverLesionSegLib.acquisition import messages as m
from LiverLesionSegLib.acquisition import wire
from LiverLesionSegLib.acquisition.receiver import Receiver, ReceiverSettings

EXAMPLES = Path("/usr/share/doc/openigtlink-examples/examples")
HEADERS = Path("/usr/include/openigtlink")
MATRIX = np.array([[0.0, -2.0, 0.0, 5.0], [1.0, 0.0, 0.0, 6.0], [0.0, 0.0, 3.0, 7.0], [0.0, 0.0, 0.0, 1.0]])


@pytest.fixture
def pyigtl_server() -> Iterator[object]:
    pyigtl = pytest.importorskip("pyigtl")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    server = pyigtl.OpenIGTLinkServer(port=0, local_server=True)
    try:
        yield server
    finally:
        server.stop()
        for number, handler in handlers.items():  # it puts its own in their place
            signal.signal(number, handler)


def test_from_pyigtl(pyigtl_server: object) -> None:
    import pyigtl

    array = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    sent = [
        pyigtl.ImageMessage(array, MATRIX, "ras", timestamp=1.7e9 + 0.25, device_name="Image_Reference"),
        pyigtl.ImageMessage(array.astype("f4"), MATRIX, "lps", timestamp=1.0, device_name="Lps"),
        pyigtl.TransformMessage(MATRIX, timestamp=1.7e9 + 0.25, device_name="ProbeToTracker"),
        pyigtl.StringMessage("a text", timestamp=2.0, device_name="Text"),
        pyigtl.PointMessage([1.0, 2.0, 3.0], device_name="Point"),
    ]
    sent[2].header_version = 2
    sent[2].metadata = {"TransformStatus": "OK", "IGTL_DEVICE_NAME": "ProbeToTracker"}
    with Receiver("127.0.0.1", pyigtl_server.server_address[1]) as receiver:  # type: ignore[attr-defined]
        wait_until(lambda: receiver.counters().connected)
        for message in sent:
            assert pyigtl_server.send_message(message, wait=True)  # type: ignore[attr-defined]
        image, lps, transform, text = take(receiver, 4)
        assert isinstance(image, m.ImageMessage)
        assert isinstance(lps, m.ImageMessage)
        assert isinstance(transform, m.TransformMessage)
        assert isinstance(text, m.StringMessage)
        assert np.array_equal(image.array, array)
        assert np.allclose(image.matrix, MATRIX, atol=1e-5)
        assert abs(image.timestamp - (1.7e9 + 0.25)) < 1e-6
        assert lps.array.dtype == np.dtype("=f4")
        assert np.array_equal(lps.array, array)
        assert np.allclose(lps.matrix, np.diag([-1, -1, 1, 1]) @ MATRIX, atol=1e-5)
        assert np.allclose(transform.matrix, MATRIX)
        assert transform.timestamp == image.timestamp
        assert transform.metadata["TransformStatus"] == "OK"
        assert (text.text, text.device) == ("a text", "Text")
        wait_until(lambda: receiver.counters().dropped == {"unknown type": 1})


@pytest.mark.parametrize("version", [1, 2])
def test_to_pyigtl(version: int) -> None:
    pyigtl = pytest.importorskip("pyigtl")
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    sent = [
        m.ImageMessage(device="Image_Reference", timestamp=1.7e9 + 0.25, array=array, matrix=MATRIX, metadata={"FrameNumber": "7"}),
        m.TransformMessage(device="ProbeToTracker", timestamp=1.7e9 + 0.25, matrix=MATRIX, metadata={"TransformStatus": "OK"}),
        m.StringMessage(device="Text", timestamp=2.0, text="a text"),
    ]
    with ScriptedServer(sends(*(wire.pack(message, version=version) for message in sent))) as server:
        client = pyigtl.OpenIGTLinkClient("127.0.0.1", server.port)
        try:
            image, transform, text = (client.wait_for_message(message.device, timeout=10) for message in sent)
        finally:
            client.stop()
    assert np.array_equal(image.image, array)
    assert np.allclose(image.ijk_to_world_matrix, MATRIX, atol=1e-5)
    assert image.world_coordinate_system == "ras"
    assert abs(image.timestamp - (1.7e9 + 0.25)) < 1e-6
    assert np.allclose(transform.matrix, MATRIX)
    assert text.string == "a text"
    assert image.metadata == ({"FrameNumber": "7"} if version == 2 else {})
    assert transform.metadata == ({"TransformStatus": "OK"} if version == 2 else {})


@pytest.fixture
def example(pytestconfig: pytest.Config) -> object:
    """Builds one of the C++ examples, once, and gives its path."""
    missing = [name for name, there in (("openigtlink-examples", EXAMPLES), ("libopenigtlink-dev", HEADERS)) if not there.is_dir()]
    missing += [] if shutil.which("g++") else ["g++"]
    if missing:
        pytest.skip(f"apt packages {', '.join(missing)} are not installed")

    def build(source: str) -> Path:
        path = EXAMPLES / source
        text = path.read_bytes()
        assert pytestconfig.cache is not None
        program = pytestconfig.cache.mkdir("openigtlink") / f"{path.stem}-{hashlib.sha256(text).hexdigest()[:12]}"
        if not program.exists():
            beside = program.with_suffix(".part")
            subprocess.run(["g++", "-w", f"-I{HEADERS}", path, "-o", beside, "-lOpenIGTLink", "-lpthread"], check=True)
            beside.rename(program)
        return program

    return build


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as spare:
        return int(spare.getsockname()[1])


@contextmanager
def running(*command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_images_from_cpp(example, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """ImagerServer: 256 x 256 pixels of 1 mm, j pointing down, the centre at the origin; so the first pixel's centre is at (-127.5, 127.5, 0)."""
    pictures = [np.random.default_rng(n).integers(0, 256, (1, 256, 256), dtype=np.uint8) for n in range(5)]
    for number, picture in enumerate(pictures):
        (tmp_path / f"igtlTestImage{number + 1}.raw").write_bytes(picture.tobytes())
    port = free_port()
    with running(example("Imager/ImagerServer.cxx"), str(port), "200", tmp_path), Receiver("127.0.0.1", port) as receiver:
        for number, message in enumerate(take(receiver, 20)):
            assert isinstance(message, m.ImageMessage)
            assert np.array_equal(message.array, pictures[number % 5])
            assert np.array_equal(message.matrix, [[1, 0, 0, -127.5], [0, -1, 0, 127.5], [0, 0, 5, 0], [0, 0, 0, 1]])
        assert receiver.counters().dropped == {}
        assert receiver.counters().reconnects == 0


@pytest.mark.parametrize("version", [1, 2])
def test_tracking_data_from_cpp(example, version: int) -> None:  # type: ignore[no-untyped-def]
    """TrackingDataServer sends only on request, which it gets in version 1; that version 2 was announced before must not put it out of step."""
    port = free_port()
    settings = ReceiverSettings(header_version=version, tracking_ms=5)
    with running(example("TrackingData/TrackingDataServer.cxx"), str(port)), Receiver("127.0.0.1", port, settings) as receiver:
        for message in take(receiver, 20):
            assert isinstance(message, m.TrackingDataMessage)
            assert [(name, kind) for name, kind, _ in message.elements] == [("Channel 0", 1), ("Channel 1", 2), ("Channel 2", 4)]
            assert all(np.allclose(np.linalg.det(matrix[:3, :3]), 1, atol=1e-3) for _, _, matrix in message.elements)
        assert receiver.counters().dropped == {}


def test_statuses_from_cpp(example) -> None:  # type: ignore[no-untyped-def]
    port = free_port()
    with running(example("Status/StatusServer.cxx"), str(port)), Receiver("127.0.0.1", port) as receiver:
        for message in take(receiver, 2):  # it sends one a second
            assert isinstance(message, m.StatusMessage)
            assert (message.code, message.subcode, message.name) == (1, 128, "OK!")
            assert message.text == "This is a test to send status message."


def test_everything_to_cpp(example, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """ReceiveClient checks every CRC with the library's own code and prints what it understood."""
    matrix = np.array([[0.0, -1.0, 0.0, 10.5], [1.0, 0.0, 0.0, -20.25], [0.0, 0.0, 1.0, 30.0], [0.0, 0.0, 0.0, 1.0]])
    array = np.zeros((2, 30, 40), np.uint8)
    sent = [
        m.TransformMessage(device="ProbeToTracker", timestamp=1.7e9 + 0.5, matrix=matrix),
        m.ImageMessage(device="Image_Reference", timestamp=1.7e9, array=array, matrix=np.diag([0.25, 0.5, 2.0, 1.0])),
        m.StatusMessage(device="x", code=13, subcode=5, name="NotReady", text="starting"),
        m.PositionMessage(device="x", position=np.array([1.0, 2.0, 3.0]), quaternion=np.array([0.0, 0.6, 0.0, 0.8])),
        m.StringMessage(device="x", text="a text that was sent"),
        m.TrackingDataMessage(device="x", elements=(("Stylus", 2, matrix),)),
    ]
    log = tmp_path / "log"
    with ScriptedServer(sends(*sent)) as server, log.open("wb") as output:
        process = subprocess.Popen([example("Receiver/ReceiveClient.cxx"), "127.0.0.1", str(server.port)], stdout=output, stderr=output)
        try:
            wait_until(lambda: b"Stylus" in log.read_bytes() and log.read_bytes().count(b"10.5") >= 2)
        finally:
            process.kill()
            process.wait()
    text = " ".join(log.read_text().split())
    assert "Time stamp: 1700000000.500000000" in text
    assert "0, -1, 0, 10.5 1, 0, 0, -20.25 0, 0, 1, 30 0, 0, 0, 1" in text
    assert "Device Name : Image_Reference Scalar Type : 3 Dimensions : (40, 30, 2) Spacing : (0.25, 0.5, 2)" in text
    assert "Code : 13 SubCode : 5 Error Name: NotReady Status : starting" in text
    assert "position = (1, 2, 3) quaternion = (0, 0.6, 0, 0.8)" in text
    assert "a text that was sent" in text
