"""Reading and writing sequence files: real recordings, every container, layouts made by hand."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from LiverLesionSegLib.errors import OutputError, SweepError
from LiverLesionSegLib.sweep import read_sweep, write_sweep
from LiverLesionSegLib.types import Sweep

ENDINGS = (".igs.mha", ".igs.mhd", ".igs.nrrd", ".seq.nrrd")


def assert_same(a: Sweep, b: Sweep) -> None:
    np.testing.assert_array_equal(a.images, b.images)
    np.testing.assert_array_equal(a.timestamps, b.timestamps)
    np.testing.assert_array_equal(a.image_ok, b.image_ok)
    assert set(a.transforms) == set(b.transforms)
    for name, matrices in a.transforms.items():
        np.testing.assert_array_equal(matrices, b.transforms[name])
        np.testing.assert_array_equal(a.statuses[name], b.statuses[name])
    assert dict(a.frame_fields) == dict(b.frame_fields)
    assert dict(a.header) == dict(b.header)


def mha(path: Path, fields: str, data: bytes, seq: str = "") -> Path:
    """A MetaImage written by hand, independent of the product's writer."""
    path.write_bytes(f"ObjectType = Image\n{fields}\n{seq}ElementDataFile = LOCAL\n".encode() + data)
    return path


def frames(n: int = 3, h: int = 4, w: int = 5) -> np.ndarray:
    return (np.arange(n * h * w) % 251).astype(np.uint8).reshape(n, h, w)


def test_real_sweeps_have_the_documented_content(spine_sweep_path: Path, liver_sweep_path: Path) -> None:
    spine = read_sweep(spine_sweep_path)
    assert spine.images.shape == (21, 616, 820)
    assert set(spine.transforms) == {"ProbeToTracker", "ReferenceToTracker", "StylusToTracker"}
    assert spine.statuses["ProbeToTracker"].all()
    assert spine.timestamps[0] == 215.102186
    assert spine.transforms["ProbeToTracker"][0, 0, 1] == 0.951424
    assert spine.warnings == ()
    liver = read_sweep(liver_sweep_path)
    assert liver.images.shape == (70, 593, 739)
    assert liver.frame_fields["FrameNumber"][69] == "69"
    assert liver.timestamps[2] == 0.083


def test_pixels_of_a_real_sweep_agree_with_another_reader(spine_sweep_path: Path) -> None:
    import SimpleITK

    expected = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(spine_sweep_path)))
    np.testing.assert_array_equal(read_sweep(spine_sweep_path).images, expected)


def test_both_containers_of_one_recording_are_equal(nwire_sweep_path: Path) -> None:
    a, b = read_sweep(nwire_sweep_path), read_sweep(nwire_sweep_path.with_suffix(".nrrd"))
    assert_same(a, b)
    assert not a.statuses["StylusToTracker"].any()
    assert a.transforms["StylusToTracker"][0, 0, 1] == -8.43482e-5  # written with a Windows exponent


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("ending", ENDINGS)
def test_round_trip_of_a_real_sweep(tmp_path: Path, spine_sweep_path: Path, ending: str, compress: bool) -> None:
    original = read_sweep(spine_sweep_path)
    path = tmp_path / f"copy{ending}"
    write_sweep(path, original, compress=compress)
    assert_same(original, read_sweep(path))


texts = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f\x85\xa0", exclude_categories=("Cc", "Zs", "Zl", "Zp")), min_size=1
)


@st.composite
def sweeps(draw: st.DrawFn) -> Sweep:
    count, height, width = draw(st.integers(1, 5)), draw(st.integers(0, 4)), draw(st.integers(0, 4))
    if 0 in (height, width):
        height = width = 0
    numbers = st.floats(-1e6, 1e6, allow_nan=False)
    names = draw(st.lists(st.sampled_from(["ProbeToTracker", "ReferenceToTracker", "Stylus2ToTracker", "ToolToTool2"]), unique=True))
    transforms, statuses = {}, {}
    for name in names:
        matrices = np.array(draw(st.lists(numbers, min_size=16 * count, max_size=16 * count))).reshape(count, 4, 4)
        ok = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
        missing = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
        matrices[missing & ~ok] = np.nan
        transforms[name], statuses[name] = matrices, ok
    times = np.array(draw(st.lists(numbers, min_size=count, max_size=count)))
    if draw(st.booleans()):
        times = np.sort(times)
    times[np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count))) & draw(st.booleans())] = np.nan
    fields = draw(
        st.dictionaries(st.sampled_from(["FrameNumber", "UnfilteredTimestamp", "Note"]), st.lists(st.none() | texts, min_size=count, max_size=count))
    )
    return Sweep(
        images=np.frombuffer(draw(st.binary(min_size=count * height * width, max_size=count * height * width)), np.uint8).reshape(
            count, height, width
        ),
        transforms=transforms,
        statuses=statuses,
        timestamps=times,
        image_ok=np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count))),
        frame_fields={name: tuple(values) for name, values in fields.items() if any(v is not None for v in values)},
        header={"UltrasoundImageOrientation": "MFA", "UltrasoundImageType": "BRIGHTNESS", "Operator": draw(texts)},
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sweep=sweeps(), ending=st.sampled_from(ENDINGS), compress=st.booleans())
def test_round_trip_of_any_sweep(tmp_path: Path, sweep: Sweep, ending: str, compress: bool) -> None:
    for file in tmp_path.iterdir():
        file.unlink()
    path = tmp_path / f"any{ending}"
    write_sweep(path, sweep, compress=compress)
    assert_same(sweep, read_sweep(path))


@pytest.mark.parametrize(
    ("orientation", "flip"), [("MFA", np.s_[:, :, :]), ("MN", np.s_[:, ::-1, :]), ("UFA", np.s_[:, :, ::-1]), ("UND", np.s_[:, ::-1, ::-1])]
)
def test_orientation_is_flipped_to_mf(tmp_path: Path, orientation: str, flip: tuple) -> None:
    data = frames()
    path = mha(tmp_path / "a.mha", f"DimSize = 5 4 3\nElementType = MET_UCHAR\nUltrasoundImageOrientation = {orientation} ", data.tobytes())
    sweep = read_sweep(path)
    np.testing.assert_array_equal(sweep.images, data[flip])
    assert sweep.header["UltrasoundImageOrientation"] == "MF" + orientation[2:]


@pytest.mark.parametrize("line", ["UltrasoundImageOrientation = FMA", "UltrasoundImageType = RF_REAL", "UltrasoundImageOrientation = QQ"])
def test_radio_frequency_and_unknown_orientations_are_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(SweepError, match=r"B-mode|orientation"):
        read_sweep(mha(tmp_path / "a.mha", f"DimSize = 5 4 3\n{line}", frames().tobytes()))


@pytest.mark.parametrize(
    ("sizes", "kinds", "order"),
    [
        ("5 4 3", None, (0, 1, 2)),
        ("5 4 3", "domain domain list", (0, 1, 2)),
        ("5 4 3", "domain domain time", (0, 1, 2)),
        ("5 4 1 3", "domain domain domain list", (0, 1, 2)),
        ("5 4 1 3", None, (0, 1, 2)),
        ("3 5 4", "list domain domain", (1, 2, 0)),
        ("3 5 4 1", "list domain domain domain", (1, 2, 0)),
        ("5 3 4", "domain list domain", (1, 0, 2)),
    ],
)
def test_frame_axis_comes_from_the_kinds(tmp_path: Path, sizes: str, kinds: str | None, order: tuple[int, ...]) -> None:
    data = frames()
    stored = np.ascontiguousarray(data.transpose(order)).tobytes()
    kinds_line = f"\nKinds = {kinds}" if kinds else ""
    np.testing.assert_array_equal(read_sweep(mha(tmp_path / "a.mha", f"DimSize = {sizes}{kinds_line}", stored)).images, data)
    kinds_line = f"\nkinds: {kinds}" if kinds else ""
    path = tmp_path / "a.igs.nrrd"
    path.write_bytes(f"NRRD0004\ntype: uint8\nsizes: {sizes}\nencoding: raw{kinds_line}\n\n".encode() + stored)
    np.testing.assert_array_equal(read_sweep(path).images, data)


def test_a_single_image_is_a_sweep_of_one_frame_and_a_volume_is_none(tmp_path: Path) -> None:
    assert len(read_sweep(mha(tmp_path / "a.mha", "NDims = 2\nDimSize = 5 4", frames(1).tobytes()))) == 1
    with pytest.raises(SweepError, match="3D volume"):
        read_sweep(mha(tmp_path / "b.mha", "DimSize = 5 4 3\nKinds = domain domain domain", frames().tobytes()))


def test_colour_becomes_luminance_and_grey_stays_exact(tmp_path: Path) -> None:
    colours = np.zeros((2, 1, 4, 3), np.uint8)
    colours[0, 0] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [77, 77, 77]]
    path = mha(tmp_path / "a.mha", "DimSize = 4 1 2\nElementNumberOfChannels = 3", colours.tobytes())
    sweep = read_sweep(path)
    np.testing.assert_array_equal(sweep.images[0, 0], [76, 150, 29, 77])
    assert any("luminance" in text for text in sweep.warnings)
    nrrd = tmp_path / "a.seq.nrrd"
    nrrd.write_bytes(b"NRRD0004\ntype: uint8\nsizes: 3 4 1 2\nkinds: RGB-color domain domain list\nencoding: raw\n\n" + colours.tobytes())
    np.testing.assert_array_equal(read_sweep(nrrd).images, sweep.images)
    # IGSIO puts the colour axis into DimSize and Kinds, and does not count it in NDims
    fields = "NDims = 3\nDimSize = 3 4 1            2\nKinds = vector domain domain       list\nElementNumberOfChannels = 3"
    np.testing.assert_array_equal(read_sweep(mha(tmp_path / "igsio.mha", fields, colours.tobytes())).images, sweep.images)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("element", "code"), [("MET_SHORT", "i2"), ("MET_USHORT", "u2"), ("MET_FLOAT", "f4"), ("MET_DOUBLE", "f8"), ("MET_INT", "i4")]
)
def test_other_pixel_types_are_scaled_with_a_warning(tmp_path: Path, element: str, code: str, order: str) -> None:
    values = np.array([[[0, 1000, 2000, 4000]]], dtype=order + code)
    fields = f"DimSize = 4 1 1\nElementType = {element}\nBinaryDataByteOrderMSB = {order == '>'}\nCompressedData = True"
    sweep = read_sweep(mha(tmp_path / "a.mha", fields, zlib.compress(values.tobytes())))
    np.testing.assert_array_equal(sweep.images[0, 0], [0, 64, 128, 255])
    assert any("0 to 4000" in text for text in sweep.warnings)


def test_wide_integers_within_8_bits_are_kept_and_floats_may_hold_nan(tmp_path: Path) -> None:
    kept = read_sweep(mha(tmp_path / "a.mha", "DimSize = 3 1 1\nElementType = MET_USHORT", np.array([3, 7, 200], "<u2").tobytes()))
    np.testing.assert_array_equal(kept.images[0, 0], [3, 7, 200])
    assert kept.warnings
    values = np.array([np.nan, -1, 1, np.inf, -np.inf, 0], "<f4")
    odd = read_sweep(mha(tmp_path / "b.mha", "DimSize = 6 1 1\nElementType = MET_FLOAT", values.tobytes()))
    np.testing.assert_array_equal(odd.images[0, 0], [0, 0, 255, 255, 0, 128])
    assert any("3 pixels" in text for text in odd.warnings)
    with pytest.raises(SweepError, match="no pixel is a finite number"):
        read_sweep(mha(tmp_path / "c.mha", "DimSize = 2 1 1\nElementType = MET_FLOAT", np.full(2, np.nan, "<f4").tobytes()))


def test_fields_in_any_order_missing_malformed_and_padded(tmp_path: Path) -> None:
    seq = (
        "Seq_Frame0002_Timestamp = 2.5   \n"
        "Seq_Frame0000_ProbeToTrackerTransformStatus = OUT_OF_VIEW\n"
        "Seq_Frame0000_ProbeToTrackerTransform =1 0 0 1e-005 0 1 0 0 0 0 1 0 0 0 0 1 \n"
        "Seq_Frame0001_ProbeToTrackerTransform = 1 0 0\n"
        "Seq_Frame0002_ProbeToTrackerTransform = 1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1\n"
        "Seq_Frame0001_ImageStatus = INVALID\n"
        "Seq_Frame0001_Depth_mm = 80\n"
        "Seq_Frame0001_StylusToTrackerTransformStatus = MISSING\n"
    )
    sweep = read_sweep(mha(tmp_path / "a.mha", "DimSize = 5 4 3      ", frames().tobytes(), seq))
    assert sweep.statuses["ProbeToTracker"].tolist() == [False, False, True]
    assert sweep.transforms["ProbeToTracker"][0, 0, 3] == 1e-5
    assert np.isnan(sweep.transforms["ProbeToTracker"][1]).all()
    assert np.isnan(sweep.transforms["StylusToTracker"]).all()
    assert not sweep.statuses["StylusToTracker"].any()
    assert sweep.image_ok.tolist() == [True, False, True]
    np.testing.assert_array_equal(sweep.timestamps, [np.nan, np.nan, 2.5])
    assert sweep.frame_fields["Depth_mm"] == (None, "80", None)
    assert any("not 16 numbers in 1 frames" in text for text in sweep.warnings)


def test_tracker_only_and_many_frames(tmp_path: Path) -> None:
    count = 10_050
    poses = np.broadcast_to(np.eye(4), (count, 4, 4)).copy()
    poses[:, 0, 3] = np.arange(count)
    sweep = Sweep(
        images=np.zeros((count, 0, 0), np.uint8),
        transforms={"ProbeToTracker": poses},
        statuses={"ProbeToTracker": np.ones(count, bool)},
        timestamps=np.arange(count) / 40.0,
        image_ok=np.ones(count, bool),
    )
    for ending in (".igs.mha", ".igs.nrrd"):
        write_sweep(tmp_path / f"t{ending}", sweep)
        back = read_sweep(tmp_path / f"t{ending}")
        assert back.images.shape == (count, 0, 0)
        assert back.transforms["ProbeToTracker"][10_049, 0, 3] == 10_049
    assert b"Seq_Frame10049_Timestamp" in (tmp_path / "t.igs.mha").read_bytes()


def test_gzip_in_several_members_is_read(tmp_path: Path) -> None:
    data = frames()
    path = tmp_path / "a.igs.nrrd"
    packed = gzip.compress(data[:1].tobytes()) + gzip.compress(data[1:].tobytes())
    path.write_bytes(b"NRRD0004\ntype: uint8\nsizes: 5 4 3\nencoding: gz\n\n" + packed)
    np.testing.assert_array_equal(read_sweep(path).images, data)


def test_written_files_are_read_by_other_libraries(tmp_path: Path, spine_sweep_path: Path) -> None:
    import nrrd
    import SimpleITK

    sweep = read_sweep(spine_sweep_path)
    for ending in (".igs.mha", ".igs.mhd"):
        write_sweep(tmp_path / f"a{ending}", sweep)
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / f"a{ending}"))), sweep.images)
    write_sweep(tmp_path / "a.igs.nrrd", sweep)
    data, header = nrrd.read(str(tmp_path / "a.igs.nrrd"), index_order="C")
    np.testing.assert_array_equal(data, sweep.images)
    assert header["Seq_Frame0020_Status"] == "OK"


def test_writing_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = Sweep(frames(), {}, {}, np.arange(3.0), np.ones(3, bool))
    with pytest.raises(OutputError, match="does not exist"):
        write_sweep(tmp_path / "none" / "a.igs.mha", sweep)
    with pytest.raises(SweepError, match="unknown ending"):
        write_sweep(tmp_path / "a.png", sweep)

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("LiverLesionSegLib.sweep._write.image_data", full_disk)
    for ending in (".igs.mha", ".igs.mhd", ".igs.nrrd"):
        with pytest.raises(OutputError, match="No space left"):
            write_sweep(tmp_path / f"a{ending}", sweep)
    assert list(tmp_path.iterdir()) == []


def test_odd_names_and_texts_do_not_break_a_file(tmp_path: Path) -> None:
    header = {"DimSize": "1 1 1", "ElementDataFileOf": "x", "a=b": "c:=d", "#c": "two\nlines", "UltrasoundImageOrientation": "MFA"}
    sweep = Sweep(frames(), {}, {}, np.arange(3.0), np.ones(3, bool), {"we:ird": ("a\nb", None, "=")}, header)
    for ending in ENDINGS:
        write_sweep(tmp_path / f"a{ending}", sweep)
        back = read_sweep(tmp_path / f"a{ending}")
        np.testing.assert_array_equal(back.images, sweep.images)
        assert back.header["ElementDataFileOf"] == "x"
        assert back.header["a_b"] == "c:=d"
        assert back.frame_fields["we_ird"][2] == "="


def test_progress_and_cancel(tmp_path: Path) -> None:
    from LiverLesionSegLib.errors import Cancelled

    path = tmp_path / "a.igs.mha"
    write_sweep(path, Sweep(frames(), {}, {}, np.arange(3.0), np.ones(3, bool)))
    seen: list[float] = []
    read_sweep(path, progress=lambda fraction, _: seen.append(fraction))
    assert seen[-1] == 1.0
    seen.clear()
    wide = mha(tmp_path / "wide.mha", "DimSize = 5 4 3\nElementType = MET_USHORT", frames().astype("<u2").tobytes())
    read_sweep(wide, progress=lambda fraction, _: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    with pytest.raises(Cancelled):
        read_sweep(path, cancelled=lambda: True)
