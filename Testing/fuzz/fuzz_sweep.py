"""Fuzzes the readers of sequence files and of PLUS configurations: whatever the bytes, they return, or raise an InputError, in bounded memory.

Run: python Testing/fuzz/fuzz_sweep.py --seconds 60 [--seed 1]. A failing input is written to the current folder, by a name that says which.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np

from LiverLesionSegLib.errors import InputError
from LiverLesionSegLib.sweep import frame_poses, read_plus_config, read_sweep, write_sweep
from LiverLesionSegLib.types import Sweep

MEMORY_BASE = 48 << 20
MEMORY_PER_BYTE = 1200
"""Deflate's best ratio is about 1032; a frame array larger than that many times the file would have come from a lie."""

SECONDS_PER_CASE = 5.0

CONFIG = b"""<PlusConfiguration version="2.1">
<DataCollection><Device Id="T" LocalTimeOffsetSec="0.1"><DataSources><DataSource Type="Tool" Id="Probe"/></DataSources></Device></DataCollection>
<CoordinateDefinitions>
<Transform From="Image" To="TransducerOrigin" Matrix="0.1 0 0 0 0 0.1 0 0 0 0 0.1 0 0 0 0 1"/>
<Transform From="Probe" To="TransducerOrigin" Matrix="1 0 0 5 0 1 0 0 0 0 1 0 0 0 0 1"/>
<Transform From="Phantom" To="Reference" Matrix="1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"/>
</CoordinateDefinitions>
<VolumeReconstruction ImageCoordinateFrame="Image" ReferenceCoordinateFrame="Reference" Interpolation="LINEAR" CompoundingMode="MEAN"
 FillHoles="OFF" ClipRectangleOrigin="1 1" ClipRectangleSize="6 4" FanAnglesDeg="-30 30" FanOriginPixel="4 -3" FanRadiusStartPixel="2"
 FanRadiusStopPixel="9" OutputSpacing="0.5 0.5 0.5" OutputOrigin="0 0 0" OutputExtent="0 9 0 9 0 9"/>
</PlusConfiguration>
"""

TOKENS = (
    *(b"0", b"-1", b"1", b"2", b"255", b"65536", b"4294967295", b"9223372036854775808", b"1e308", b"1e-320", b"nan", b"inf", b"-0.0", b"9" * 5000),
    *(
        b"1000000",
        b"8192",
        b"True",
        b"False",
        b"domain",
        b"list",
        b"time",
        b"RGB-color",
        b"vector",
        b"LOCAL",
        b"LIST",
        b"../x",
        b"/dev/zero",
        b"x.raw",
    ),
    *(b"MET_USHORT", b"MET_FLOAT", b"MET_DOUBLE", b"MET_CHAR", b"float", b"uint16", b"double", b"int8", b"raw", b"gzip", b"bzip2", b"ascii", b"big"),
    *(b"UNA", b"MNA", b"UFA", b"FMA", b"??", b"RF_REAL", b"OK", b"INVALID", b"", b" ", b"\n", b"\r\n", b"\n\n", b"\0", b"\xff", b"=", b":=", b": "),
    *(b"ElementNumberOfChannels = 3\n", b"Kinds = list domain domain\n", b"BinaryDataByteOrderMSB = True\n", b"CompressedDataSize = 99\n"),
    *(b"endian: big\n", b"byte skip: -1\n", b"data file: x.raw\n", b"axis 3 index values:=0 1 2\n", b"axis 3 item 0001 ImageStatus:=INVALID\n"),
    *(b'<!DOCTYPE a [<!ENTITY b "cccccccc">]>', b"&b;", b"&#0;", b"<Transform/>", b"<!--", b"]]>", b'encoding="utf-16"', b"ImportanceMask"),
    *(b"Seq_Frame0000_", b"Seq_Frame999999999_ProbeToTrackerTransform = 1", b"Seq_Frame0001_ToTransformStatus = OK\n", b"Timestamp", b"Status"),
)


def small_sweep() -> Sweep:
    """Four frames of 8 x 6 pixels with two tools."""
    generator = np.random.default_rng(0)
    poses = np.broadcast_to(np.eye(4), (4, 4, 4)).copy()
    poses[:, 2, 3] = np.arange(4)
    return Sweep(
        images=generator.integers(0, 255, (4, 6, 8), dtype=np.uint8),
        transforms={"ProbeToTracker": poses, "ReferenceToTracker": np.broadcast_to(np.eye(4), (4, 4, 4))},
        statuses={"ProbeToTracker": np.array([True, True, False, True]), "ReferenceToTracker": np.ones(4, dtype=bool)},
        timestamps=np.arange(4) * 0.1,
        image_ok=np.ones(4, dtype=bool),
        frame_fields={"FrameNumber": ("0", "1", "2", None)},
    )


def seeds(folder: Path) -> dict[str, bytes]:
    """File name -> content of valid inputs, one per format; what a format keeps beside its file is left in `folder`."""
    found: dict[str, bytes] = {"config.xml": CONFIG}
    for compress in (True, False):
        for ending in (".igs.mha", ".igs.mhd", ".igs.nrrd", ".seq.nrrd"):
            path = folder / f"{'packed' if compress else 'plain'}{ending}"
            write_sweep(path, small_sweep(), compress=compress)
            found[path.name] = path.read_bytes()
    found["packed-ProbeToTracker.seq.mhd"] = (folder / "packed-ProbeToTracker.seq.mhd").read_bytes()
    return found


def mutate(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """A few random edits: bits, tokens, numbers, lines, cuts, and pieces of another seed."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        size = len(result)
        at = rng.randrange(size + 1)
        length = min(rng.choice((1, 2, 4, 8, 32, 200)), size - at)
        choice = rng.randrange(9)
        if choice == 0 and at < size:
            result[at] ^= 1 << rng.randrange(8)
        elif choice == 1:
            result[at : at + rng.choice((0, length))] = rng.choice(TOKENS)
        elif choice == 2:
            del result[at : at + length]
        elif choice == 3:
            result[at:at] = result[at : at + length] * rng.choice((1, 2, 50))
        elif choice == 4:
            del result[at:]
        elif choice == 5:
            start = rng.randrange(len(other))
            result[at:at] = other[start : start + rng.choice((8, 80, 800))]
        elif choice == 6:
            lines = bytes(result).split(b"\n")
            first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[first], lines[second] = lines[second], lines[first]
            result = bytearray(b"\n".join(lines))
        elif choice == 7:
            result = _other_number(result, rng)
        else:
            result[at : at + length] = rng.randbytes(length)
    return bytes(result)


def _other_number(data: bytearray, rng: random.Random) -> bytearray:
    """Replaces one run of digits, where lying sizes and counts are."""
    places = [i for i, byte in enumerate(data[:4000]) if 48 <= byte <= 57 and (i == 0 or not 48 <= data[i - 1] <= 57)]
    if not places:
        return data
    start = rng.choice(places)
    end = start
    while end < len(data) and 48 <= data[end] <= 57:
        end += 1
    return data[:start] + rng.choice((*TOKENS[:16], str(rng.randrange(20)).encode())) + data[end:]


def run_one(path: Path) -> str:
    """Read the file at `path` as its ending says; the outcome's name. Anything but an InputError escapes."""
    try:
        if path.suffix == ".xml":
            read_plus_config(path)
        else:
            sweep = read_sweep(path)
            reference = path.parent / "reference.xml"
            if reference.exists():
                frame_poses(sweep, read_plus_config(reference).calibration)
    except InputError as error:
        text = str(error)
        assert "\n" not in text, f"an error of several lines: {text!r}"
        assert len(text) < 2000, f"an error of {len(text)} characters"
        return type(error).__name__
    return "read"


def fuzz(seconds: float, seed: int, cases: int | None = None, judge_time: bool = True) -> Counter[str]:
    """Run for so many seconds (or cases); returns how often each outcome came. Raises AssertionError or what escaped."""
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        originals = seeds(folder)
        (folder / "reference.xml").write_bytes(CONFIG)
        names = sorted(originals)
        end = time.monotonic() + seconds
        tracemalloc.start()
        try:
            while (cases is None and time.monotonic() < end) or (cases is not None and outcomes.total() < cases):
                which = rng.choice(names)
                data = mutate(originals[which], rng, originals[rng.choice(names)])
                path = folder / which
                path.write_bytes(data)
                beside = sum(file.stat().st_size for file in folder.iterdir())
                tracemalloc.reset_peak()
                begin = time.monotonic()
                try:
                    outcomes[run_one(path)] += 1
                    peak, took = tracemalloc.get_traced_memory()[1], time.monotonic() - begin
                    assert peak < MEMORY_BASE + MEMORY_PER_BYTE * beside, f"{peak >> 20} MB of memory for {len(data)} bytes"
                    assert not judge_time or took < SECONDS_PER_CASE, f"{took:.1f} s for {len(data)} bytes"
                except BaseException:  # an interrupt too: keep the input that was being read, then pass it on
                    Path(f"failing-{which}").write_bytes(data)
                    raise
                path.write_bytes(originals[which])
        finally:
            tracemalloc.stop()
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=None, help="repeat a run; default: a new one every time, which is shown")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if arguments.seed is None else arguments.seed
    sys.stderr.write(f"seed {seed}\n")
    outcomes = fuzz(arguments.seconds, seed)
    sys.stdout.write(f"{outcomes.total()} inputs: {dict(outcomes)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
