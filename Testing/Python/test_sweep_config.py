"""PLUS device-set configurations: what they say, what older ones call it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from LiverLesionSegLib.errors import CalibrationError
from LiverLesionSegLib.sweep import read_plus_config
from LiverLesionSegLib.sweep._frame_fields import number_text, parse_matrix
from LiverLesionSegLib.sweep.transform_graph import find_path, split_name

SCALE = "0.1 0 0 -4  0 0.1 0 -3  0 0 0.1 0  0 0 0 1"
SHIFT = "1 0 0 10  0 1 0 0  0 0 1 0  0 0 0 1"


def config(path: Path, transforms: str, reconstruction: str = "", rest: str = "") -> Path:
    path.write_text(
        f'<PlusConfiguration version="2.1">{rest}<CoordinateDefinitions>{transforms}</CoordinateDefinitions>'
        f"<VolumeReconstruction {reconstruction}/></PlusConfiguration>"
    )
    return path


def transform(start: str, end: str, matrix: str = SCALE) -> str:
    return f'<Transform From="{start}" To="{end}" Matrix="{matrix}"/>'


def test_real_configurations(spine_config_path: Path, nwire_config_path: Path, liver_config_path: Path) -> None:
    spine = read_plus_config(spine_config_path)
    assert (spine.compounding, spine.interpolation, spine.spacing_mm, spine.fill_holes) == ("maximum", "linear", (0.5, 0.5, 0.5), False)
    assert spine.calibration.clip_px == (0, 0, 820, 616)
    assert spine.calibration.image_to_probe[1, 0] == -0.0839128
    assert set(spine.calibration.static_transforms) == {"PhantomToReference"}
    nwire = read_plus_config(nwire_config_path)
    assert (nwire.compounding, nwire.calibration.clip_px, nwire.calibration.fan) == ("mean", (167, 62, 495, 488), None)
    liver = read_plus_config(liver_config_path).calibration
    assert liver.fan is not None
    assert liver.fan.angles_deg == (-30.28, 30.28)
    assert liver.fan.origin_px == (369.0, -139.329)
    assert liver.fan.radii_px == (161.341, 724.352)


def test_what_the_file_does_not_say_is_none(tmp_path: Path) -> None:
    read = read_plus_config(config(tmp_path / "c.xml", transform("Image", "Probe")))
    assert (read.spacing_mm, read.interpolation, read.compounding, read.fill_holes, read.output_origin, read.output_extent) == (None,) * 6
    assert read.calibration.clip_px is None
    assert read.calibration.fan is None
    assert read.calibration.reference_frame == "Reference"


def test_calibration_may_be_inverted_or_several_steps(tmp_path: Path) -> None:
    forward = read_plus_config(config(tmp_path / "a.xml", transform("Image", "Probe"))).calibration
    back = " ".join(map(repr, np.linalg.inv(forward.image_to_probe).reshape(-1).tolist()))
    inverse = read_plus_config(config(tmp_path / "b.xml", transform("Probe", "Image", back))).calibration
    np.testing.assert_allclose(inverse.image_to_probe, forward.image_to_probe, atol=1e-12)
    steps = transform("Image", "TransducerOrigin") + transform("Probe", "TransducerOrigin", SHIFT)
    chained = read_plus_config(config(tmp_path / "c.xml", steps)).calibration
    assert chained.probe_frame == "Probe"
    np.testing.assert_allclose(chained.image_to_probe[:3, 3], [-14, -3, 0])


def test_the_probe_may_have_another_name(tmp_path: Path) -> None:
    assert read_plus_config(config(tmp_path / "a.xml", transform("Image", "UsProbe"))).calibration.probe_frame == "UsProbe"
    tools = '<Device Id="T"><DataSources><DataSource Type="Tool" Id="Wand"/></DataSources></Device>'
    two = transform("Image", "Other") + transform("Image", "Wand")
    assert read_plus_config(config(tmp_path / "b.xml", two, rest=tools)).calibration.probe_frame == "Wand"
    renamed = config(tmp_path / "c.xml", transform("Video", "Probe"), 'ImageCoordinateFrame="Video" ReferenceCoordinateFrame="Tracker"')
    calibration = read_plus_config(renamed).calibration
    assert (calibration.image_frame, calibration.reference_frame) == ("Video", "Tracker")


def test_replaced_attribute_names_and_settings(tmp_path: Path) -> None:
    old = 'FanAngles="-20 25" FanOrigin="10 -5" FanDepth="300" Compounding="ON" FillHoles="ON" Interpolation="NEAREST_NEIGHBOR"'
    read = read_plus_config(config(tmp_path / "a.xml", transform("Image", "Probe"), old))
    assert read.calibration.fan is not None
    assert (read.calibration.fan.angles_deg, read.calibration.fan.radii_px) == ((-20.0, 25.0), (0.0, 300.0))
    assert (read.compounding, read.fill_holes, read.interpolation) == ("mean", True, "nearest")
    given = 'OutputOrigin="1 2 3" OutputExtent="0 9 0 8 0 7" CompoundingMode="IMPORTANCE_MASK"'
    read = read_plus_config(config(tmp_path / "b.xml", transform("Image", "Probe"), given))
    assert (read.output_origin, read.output_extent, read.compounding) == ((1.0, 2.0, 3.0), (0, 9, 0, 8, 0, 7), None)
    assert "IMPORTANCE_MASK" in read.warnings[0]


def test_time_offset_is_the_trackers_less_the_images(tmp_path: Path) -> None:
    devices = (
        '<Device Id="T" LocalTimeOffsetSec="0.25"><DataSources><DataSource Type="Tool" Id="Probe"/></DataSources></Device>'
        '<Device Id="V" LocalTimeOffsetSec="0.05"><DataSources><DataSource Type="Video" Id="Video"/></DataSources></Device>'
    )
    read = read_plus_config(config(tmp_path / "a.xml", transform("Image", "Probe"), rest=devices))
    assert read.calibration.time_offset_s == pytest.approx(0.2)
    twice = devices + devices.replace("0.25", "0.5")
    read = read_plus_config(config(tmp_path / "b.xml", transform("Image", "Probe"), rest=twice))
    assert read.calibration.time_offset_s == 0.0
    assert read.warnings


@pytest.mark.parametrize(
    ("transforms", "reconstruction", "words"),
    [
        ("", "", "calibrate the probe"),
        (transform("Phantom", "Reference"), "", "calibrate the probe"),
        (transform("Image", "Probe") * 2, "", "more than once"),
        (transform("Image", "Probe") + transform("Probe", "Image"), "", "more than once"),
        (transform("Image", "Left") + transform("Image", "Right"), "", "which of them is the probe"),
        (transform("Image", "Probe", "1 0 0"), "", "3 numbers instead of 16"),
        (transform("Image", "Probe", SCALE.replace("0.1", "x")), "", "not a list of numbers"),
        (transform("Image", "Probe", SCALE.replace("0.1", "nan")), "", "finite"),
        (transform("Image", "Probe", SCALE.replace("0.1", "0")), "", "singular"),
        (transform("Probe", "Image", SCALE.replace("0.1", "0")), "", "inverted"),
        (transform("Image", "Probe", SCALE.replace("-4", "1e300")), "", "no length"),
        (transform("Image", "probe"), "", "capital"),
        ('<Transform From="Image" To="Probe"/>', "", "lacks"),
        (transform("Image", "Probe"), 'ClipRectangleSize="0 10"', "clip rectangle"),
        (transform("Image", "Probe"), 'ClipRectangleOrigin="-1 0" ClipRectangleSize="5 5"', "clip rectangle"),
        (transform("Image", "Probe"), 'ClipRectangleSize="5.5 10"', "whole numbers"),
        (transform("Image", "Probe"), 'OutputSpacing="0.5 0.5"', "3 finite numbers"),
        (transform("Image", "Probe"), 'OutputSpacing="0.5 0.5 -1"', "positive"),
        (transform("Image", "Probe"), 'Interpolation="CUBIC"', "LINEAR"),
        (transform("Image", "Probe"), 'CompoundingMode="MEDIAN"', "MAXIMUM"),
        (transform("Image", "Probe"), 'FillHoles="maybe"', "ON or OFF"),
        (transform("Image", "Probe"), 'FanAnglesDeg="-30 30"', "FanOriginPixel"),
        (transform("Image", "Probe"), 'FanAnglesDeg="30 -30" FanOriginPixel="0 0" FanRadiusStopPixel="9"', "sector"),
    ],
)
def test_unusable_calibrations_are_refused(tmp_path: Path, transforms: str, reconstruction: str, words: str) -> None:
    with pytest.raises(CalibrationError, match=words) as caught:
        read_plus_config(config(tmp_path / "c.xml", transforms, reconstruction))
    assert "\n" not in str(caught.value)


BOMB = '<!DOCTYPE b [<!ENTITY a "ha">' + "".join(f'<!ENTITY {c} "{f"&{p};" * 10}">' for p, c in zip("abcdefgh", "bcdefghi", strict=True)) + "]>"


@pytest.mark.parametrize(
    "text",
    [
        BOMB + "<PlusConfiguration>&i;</PlusConfiguration>",
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><PlusConfiguration/>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><PlusConfiguration>&b;</PlusConfiguration>',
        "<PlusConfiguration>",
        "",
        "<html/>",
        "\0\1\2",
        '<?xml version="1.0" encoding="no-such"?><PlusConfiguration/>',
    ],
)
def test_hostile_and_other_xml_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.xml"
    path.write_text(text)
    with pytest.raises(CalibrationError):
        read_plus_config(path)


def test_huge_and_missing_files(tmp_path: Path) -> None:
    with (tmp_path / "huge.xml").open("wb") as stream:
        stream.truncate(1 << 30)
    for name in ("huge.xml", "none.xml", "."):
        with pytest.raises(CalibrationError):
            read_plus_config(tmp_path / name)


numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(numbers, min_size=16, max_size=16), st.sampled_from([" ", "  ", "\t", "\n  "]))
def test_matrix_text_round_trip(values: list[float], separator: str) -> None:
    parsed = parse_matrix(separator.join(number_text(v) if np.isfinite(v) else str(v) for v in values) + " ")
    assert parsed is not None
    np.testing.assert_array_equal(parsed.reshape(-1), values)


@given(st.text())
def test_matrix_text_of_anything(text: str) -> None:
    parsed = parse_matrix(text)
    assert parsed is None or parsed.shape == (4, 4)


@pytest.mark.parametrize("value", ["-8.43482e-005", "1E+003", "-0", ".5", "5."])
def test_number_forms_of_other_platforms(value: str) -> None:
    parsed = parse_matrix(" ".join([value] * 16))
    assert parsed is not None
    assert parsed[3, 3] == float(value.replace("e-005", "e-5").replace("E+003", "E3"))


frame_names = st.from_regex(r"[A-Z][A-SU-Za-su-z0-9]{0,8}", fullmatch=True)


@given(frame_names, frame_names)
def test_transform_names_split(start: str, end: str) -> None:
    assert split_name(f"{start}To{end}") == (start, end)


def test_transform_names_that_hold_to() -> None:
    assert split_name("ToolToTracker") == ("Tool", "Tracker")
    assert split_name("TrackerToTool") == ("Tracker", "Tool")
    assert split_name("PhotoToTool") == ("Photo", "Tool")
    assert split_name("Nothing") == split_name("To") == split_name("Tomato") == ("", "")


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from("ABCDEF"), st.sampled_from("ABCDEF")), max_size=9), st.data())
def test_paths_join_up_and_are_shortest(edges: list[tuple[str, str]], data: st.DataObject) -> None:
    names = [f"{a}To{b}" for a, b in edges if a != b]
    start, end = data.draw(st.sampled_from("ABCDEF")), data.draw(st.sampled_from("ABCDEF"))
    path = find_path(names, start, end)
    distance = {start: 0}  # breadth first by hand
    for n in range(6):
        for a, b in [(a, b) for x, y in edges for a, b in ((x, y), (y, x))]:
            if distance.get(a) == n:
                distance.setdefault(b, n + 1)
    assert (path is None) == (end not in distance)
    if path is not None:
        assert len(path) == distance[end]
        at = start
        for name, inverse in path:
            source, target = split_name(name)[:: -1 if inverse else 1]
            assert source == at
            at = target
        assert at == end
