"""Lines, arrays and value types between client and worker: the same on the other side, and nothing else gets in."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_cases import a_box, a_volume

from LiverLesionSegLib.errors import BoxError, OutputError
from LiverLesionSegLib.segmentation import inscribed_ellipsoid, surface
from LiverLesionSegLib.types import Finding, Probability, Quality, Threshold
from LiverLesionSegLib.worker.protocol import LARGEST_LINE, ArrayFolder, ProtocolError, from_line, read_messages, request_of, to_line
from LiverLesionSegLib.worker.values import decode, encode_into, surface_arrays


def there_and_back(value: Any, folder: Path) -> Any:
    plain = encode_into(ArrayFolder(folder, "request"), value)
    back = decode(json.loads(to_line({"id": 1, "value": plain}))["value"], ArrayFolder(folder, "reply").take)
    assert list(folder.iterdir()) == []
    return back


def test_value_types_are_the_same_on_the_other_side(tmp_path: Path) -> None:
    volume, box = a_volume(), a_box()
    probability = Probability(np.random.default_rng(0).random(volume.grid.shape, np.float32), volume.grid, "m", "p", "cpu", {"forward": 0.1})
    mask = inscribed_ellipsoid(box, volume.grid)
    back = there_and_back({"volume": volume, "box": box, "probability": probability, "mask": mask}, tmp_path)
    for name in ("array", "weight"):
        assert np.array_equal(getattr(back["volume"], name), getattr(volume, name))
        assert not getattr(back["volume"], name).flags.writeable
    assert back["volume"].source == "ball.nrrd"
    assert back["volume"].array.dtype == np.uint8
    for name in ("centre", "axes", "size"):
        assert np.array_equal(getattr(back["box"], name), getattr(box, name))
    assert np.array_equal(back["probability"].array, probability.array)
    assert dict(back["probability"].seconds) == {"forward": 0.1}
    assert np.array_equal(back["mask"].grid.ijk_to_ras, volume.grid.ijk_to_ras)
    assert back["mask"].array.dtype == np.bool_
    assert dict(back["mask"].provenance) == dict(mask.provenance)


def test_small_value_types_and_odd_arrays(tmp_path: Path) -> None:
    threshold = Threshold(1 / 3, "m", "p", "tuned", ("a", "b"))
    quality = Quality(3, "warn", (Finding("coverage", "warn", None, 2, float("inf"), 0.1, "scan again"),))
    assert there_and_back([threshold, quality, None, True, "ä"], tmp_path) == [threshold, quality, None, True, "ä"]
    for array in (np.zeros((0, 3)), np.zeros((0, 100), np.int16), np.asfortranarray(np.arange(120.0).reshape(10, 12)), np.arange(300)[::-3]):
        back = there_and_back(array, tmp_path)
        assert back.dtype == array.dtype
        assert np.array_equal(back, array)


def test_a_surface_is_the_same_surface(tmp_path: Path) -> None:
    original = surface(inscribed_ellipsoid(a_box(), a_volume().grid))
    back = there_and_back(original, tmp_path)
    theirs, ours = surface_arrays(original.polydata), surface_arrays(back.polydata)
    assert theirs.keys() == ours.keys() == {"points", "triangles", "normals"}
    for name, array in theirs.items():
        assert np.array_equal(array, ours[name])
        assert array.dtype == ours[name].dtype
    assert (back.volume_ml, back.frame, back.provenance) == (original.volume_ml, original.frame, original.provenance)


def test_bad_values_are_errors_of_the_value(tmp_path: Path) -> None:
    plain = encode_into(ArrayFolder(tmp_path, "request"), a_box())
    plain["size"]["$numbers"] = [1.0, -1.0, 1.0]
    with pytest.raises(BoxError, match="draw it around the lesion"):
        decode(plain, ArrayFolder(tmp_path, "reply").take)


@pytest.mark.parametrize(
    "plain",
    [
        {"$type": "os"},
        {"$type": ["Box"]},
        {"$type": "Box"},
        {"$array": "../secret1.npy"},
        {"$array": "reply7.npy"},
        {"$array": 3},
        {"$numbers": [1, 2], "shape": [3], "dtype": "<f8"},
        {"$numbers": [1], "shape": [1], "dtype": "no"},
    ],
)
def test_what_no_side_would_send_is_refused(plain: Any, tmp_path: Path) -> None:
    with pytest.raises(ProtocolError):
        decode(plain, ArrayFolder(tmp_path, "reply").take)


def test_an_array_of_objects_is_neither_sent_nor_read(tmp_path: Path) -> None:
    folder = ArrayFolder(tmp_path, "request")
    with pytest.raises(TypeError):
        encode_into(folder, np.array([{}] * 100, dtype=object))
    np.save(tmp_path / "reply1.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ProtocolError):
        folder.take("reply1.npy")


@given(st.binary(max_size=300))
def test_garbage_is_garbage(line: bytes) -> None:
    try:
        message = from_line(line)
    except ProtocolError:
        return
    assert type(message["id"]) is int


@pytest.mark.parametrize("line", [b"[]", b"3", b'{"id":true}', b'{"id":1.0}', b"{}", b"\xff\xfe", b"[" * 200_000, b'{"id":' + b"9" * 5000 + b"}"])
def test_what_is_no_message(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        request_of(from_line(line))


def test_lines_are_bounded_and_a_cut_one_is_dropped() -> None:
    with pytest.raises(ProtocolError, match="longer"):
        to_line({"id": 1, "text": "x" * LARGEST_LINE})
    with pytest.raises(ProtocolError, match="longer"):
        list(read_messages(io.BytesIO(b"x" * (LARGEST_LINE + 10))))
    assert list(read_messages(io.BytesIO(b'{"id":1}\n{"id":2'))) == [{"id": 1}]


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    resource: Any = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
    try:
        with pytest.raises(OutputError, match="free some space"):
            encode_into(ArrayFolder(tmp_path, "request"), a_volume())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "garbage", [b"\x00\xff what\n", b'{"id":1,"operation":"ping"}\n', b"x" * (LARGEST_LINE + 10)], ids=["bytes", "fields", "long"]
)
def test_garbage_ends_the_worker_cleanly(garbage: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "scratch" / "run"
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "LiverLesionSegLib.worker", str(folder)]
    ended = subprocess.run(command, input=garbage, capture_output=True, check=False, timeout=240)
    assert ended.returncode == 3
    assert [json.loads(line)["kind"] for line in ended.stdout.splitlines()] == ["ready"]
    assert ended.stderr.startswith(b"The worker ends: ")
    assert ended.stderr.count(b"\n") == 1
    assert not folder.parent.exists()
