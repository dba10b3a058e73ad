"""Sequence files that are damaged, lie or attack: one sentence, bounded memory, nothing allocated on a lie's word."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from test_sweep_files import frames, mha

from LiverLesionSegLib.errors import SweepError
from LiverLesionSegLib.sweep import read_sweep, write_sweep
from LiverLesionSegLib.types import Sweep


@contextmanager
def memory_below(limit: float) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak / 1e6:.1f} MB"


def refusal(path: Path) -> str:
    with memory_below(24e6), pytest.raises(SweepError) as caught:
        read_sweep(path)
    text = str(caught.value)
    assert str(path.parent) in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    "fields",
    [
        "DimSize = 5 4 99",
        "DimSize = 5 4 -3",
        "DimSize = 5 4 x",
        "DimSize = 5",
        "DimSize = 8192 8192 1000000",
        "DimSize = 99999999999999999999 99999999999999999999 9999999999999999999999",
        "DimSize = 5 4 3\nNDims = 4",
        "DimSize = 5 4 3\nKinds = domain list",
        "DimSize = 5 4 3\nKinds = list domain list",
        "DimSize = 5 4 3\nElementType = MET_LONG_DOUBLE",
        "DimSize = 5 4 3\nElementNumberOfChannels = 2",
        "DimSize = 5 4 3\nElementNumberOfChannels = 3",
        "DimSize = 5 4 3\nBinaryData = False",
        "DimSize = 5 4 3\nElementType = MET_DOUBLE",
        "DimSize = 5 4 3\nCompressedData = True",
        "DimSize = 5 4 3\nHeaderSize = 12",
        "NDims = 3",
        "this is no header line",
    ],
)
def test_lying_metaimage_headers(tmp_path: Path, fields: str) -> None:
    refusal(mha(tmp_path / "a.mha", fields, frames().tobytes()))


@pytest.mark.parametrize(
    "fields",
    [
        "type: block\nsizes: 5 4 3\nencoding: raw",
        "type: uint8\nsizes: 5 4 3\nencoding: bzip2",
        "type: uint8\nsizes: 5 4 3\nencoding: raw\nendian: middle",
        "type: uint8\nsizes: 5 4 3\nencoding: raw\nbyte skip: -1",
        "type: uint8\nsizes: 5 4 3\nencoding: raw\ndimension: 2",
        "type: uint8\nsizes: 5 4 300\nencoding: raw",
        "type: uint8\nsizes: 5 4 3\nencoding: gz",
        "type: uint8\nencoding: raw",
        "type: uint8\nsizes: 5 4 3\nencoding: raw\ndata file: ../secret.raw",
        "type: uint8\nsizes: 5 4 3\nencoding: raw\ndata file: missing.raw",
        "type: uint8\nsizes: 5 4 1 3\nkinds: domain domain domain list\nencoding: raw\naxis 3 index values:=0 1",
    ],
)
def test_lying_nrrd_headers(tmp_path: Path, fields: str) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(f"NRRD0004\n{fields}\n\n".encode() + frames().tobytes())
    refusal(path)


def test_truncated_data_says_how_many_frames_there_are(tmp_path: Path) -> None:
    data = np.random.default_rng(1).integers(0, 255, (10, 40, 50), dtype=np.uint8)
    raw = mha(tmp_path / "raw.mha", "DimSize = 50 40 10", data.tobytes()[: 7 * 2000 + 5])
    assert "7 of 10 frames" in refusal(raw)
    packed = zlib.compress(data.tobytes())
    cut = packed[: len(packed) * 7 // 10]
    path = mha(tmp_path / "zlib.mha", f"DimSize = 50 40 10\nCompressedData = True\nCompressedDataSize = {len(packed)}", cut)
    assert "of 10 frames" in refusal(path)
    path = tmp_path / "gz.nrrd"
    path.write_bytes(b"NRRD0004\ntype: uint8\nsizes: 50 40 10\nencoding: gz\n\n" + gzip.compress(data.tobytes())[:-12])
    assert "of 10 frames" in refusal(path) or "lack their end" in refusal(path)
    path.write_bytes(b"NRRD0004\ntype: uint8\nsizes: 50 40 10\nencoding: gz\n\n" + gzip.compress(data.tobytes())[:-4])
    assert "lack their end" in refusal(path)


def test_damaged_data_is_noticed_by_the_checksum(tmp_path: Path) -> None:
    packed = bytearray(zlib.compress(frames().tobytes(), 0))
    packed[20] ^= 1
    assert "damaged" in refusal(mha(tmp_path / "a.mha", "DimSize = 5 4 3\nCompressedData = True", bytes(packed)))


def test_more_compressed_data_than_declared_is_refused(tmp_path: Path) -> None:
    packed = zlib.compress(frames(4).tobytes())
    text = refusal(mha(tmp_path / "a.mha", f"DimSize = 5 4 3\nCompressedData = True\nCompressedDataSize = {len(packed)}", packed))
    assert "more compressed pixels" in text
    assert "bytes after" in read_sweep(mha(tmp_path / "b.mha", "DimSize = 5 4 3", frames(4).tobytes())).warnings[0]


def test_bombs_stop_at_the_declared_size(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(200 << 20), 9)  # 200 MB of nothing in 200 kB
    assert "more compressed pixels" in refusal(mha(tmp_path / "a.mha", "DimSize = 100 100 10\nCompressedData = True", bomb))
    assert "cannot hold" in refusal(mha(tmp_path / "b.mha", "DimSize = 8192 8192 1000\nCompressedData = True", bomb))
    path = tmp_path / "a.igs.nrrd"
    path.write_bytes(b"NRRD0004\ntype: uint8\nsizes: 100 100 10\nencoding: gz\n\n" + gzip.compress(bytes(50 << 20)))
    assert "more compressed pixels" in refusal(path)


def test_frames_beyond_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    path = mha(tmp_path / "a.mha", "DimSize = 50 40 10", bytes(20_000))
    monkeypatch.setattr(os, "sysconf", lambda _: 100)
    assert "memory" in refusal(path)


def test_headers_without_end_and_fields_of_frames_that_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    with path.open("wb") as stream:
        stream.write(b"ObjectType = Image\n")
        stream.truncate((64 << 20) + 100)
    with pytest.raises(SweepError, match="no header ends"):
        read_sweep(path)
    seq = "Seq_Frame0007_Timestamp = 1\n"
    assert "frame 7" in refusal(mha(tmp_path / "b.mha", "DimSize = 5 4 3", frames().tobytes(), seq))
    many = "".join(f"Seq_Frame0000_Field{i} = 1\n" for i in range(300))
    assert "gives only 300 values" in refusal(mha(tmp_path / "c.mha", "DimSize = 0 0 1000000", b"", many))


def test_data_files_stay_in_the_headers_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.raw").write_bytes(frames().tobytes())
    folder = tmp_path / "sub"
    folder.mkdir()
    for name in ("../secret.raw", str(tmp_path / "secret.raw"), "LIST", "slice%03d.raw", "missing.raw"):
        path = folder / "a.mhd"
        path.write_text(f"DimSize = 5 4 3\nElementDataFile = {name}\n")
        refusal(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.igs.mha", tmp_path):
        with pytest.raises(SweepError):
            read_sweep(path)
    empty = tmp_path / "empty.mha"
    empty.write_bytes(b"")
    refusal(empty)


@pytest.mark.parametrize("ending", [".igs.mha", ".igs.nrrd", ".seq.nrrd"])
@pytest.mark.parametrize("compress", [True, False])
def test_memory_stays_near_the_size_of_the_frames(tmp_path: Path, ending: str, compress: bool) -> None:
    images = np.repeat(np.random.default_rng(0).integers(0, 40, (8, 500, 600), dtype=np.uint8), 20, axis=0)  # 48 MB
    path = tmp_path / f"large{ending}"
    sweep = Sweep(images, {}, {}, np.arange(len(images)) / 30, np.ones(len(images), bool))
    with memory_below(20e6):
        write_sweep(path, sweep, compress=compress)
    with memory_below(1.25 * images.nbytes):
        read_sweep(path)


@pytest.mark.parametrize("order", ["W H F", "F W H"])
def test_memory_of_conversions_too(tmp_path: Path, order: str) -> None:
    values = np.random.default_rng(0).integers(0, 4000, (80, 300, 400)).astype("<u2")
    stored = values if order == "W H F" else np.ascontiguousarray(values.transpose(1, 2, 0))
    sizes, kinds = ("400 300 80", "domain domain list") if order == "W H F" else ("80 400 300", "list domain domain")
    fields = f"DimSize = {sizes}\nKinds = {kinds}\nElementType = MET_USHORT\nUltrasoundImageOrientation = UN\nCompressedData = True"
    path = mha(tmp_path / "a.mha", fields, zlib.compress(stored.tobytes(), 1))
    with memory_below(values.size + 45e6):
        sweep = read_sweep(path)
    expected = np.rint(values[:, ::-1, ::-1] * (255 / values.max()))
    np.testing.assert_array_equal(sweep.images, expected.astype(np.uint8))
