"""OpenIGTLink messages to bytes and back: round trips of any message, and values worked out by hand from the protocol's documents."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from link_cases import image, raw, transform

from LiverLesionSegLib.acquisition import messages as m
from LiverLesionSegLib.acquisition import wire
from LiverLesionSegLib.acquisition._wire_header import crc64
from LiverLesionSegLib.acquisition.wire import ContentError, FramingError

# Fields are padded with zeros and text may be sent with its closing zero: a zero cannot be part of it.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
NAMES = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=40)
SHORT = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
NUMBERS = st.floats(-1e6, 1e6, width=32)
# 32.32 fixed point holds these exactly
TIMES = st.builds(lambda seconds, fraction: seconds + fraction / (1 << 20), st.integers(0, 2**32 - 2), st.integers(0, (1 << 20) - 1))
MATRICES = st.lists(NUMBERS, min_size=12, max_size=12).map(lambda numbers: np.vstack([np.array(numbers).reshape(3, 4), [0, 0, 0, 1]]))
DTYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"]


def head() -> dict[str, st.SearchStrategy]:
    return {"device": NAMES, "timestamp": TIMES, "metadata": st.dictionaries(TEXT, TEXT, max_size=3)}


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    components = draw(st.sampled_from([1, 1, 2, 3]))
    full = shape if components == 1 else (*shape, components)
    return np.random.default_rng(draw(st.integers(0, 99))).integers(-120, 120, full).astype(draw(st.sampled_from(DTYPES)))


MESSAGES = st.one_of(
    st.builds(m.ImageMessage, array=arrays(), matrix=MATRICES, **head()),
    st.builds(m.TransformMessage, matrix=MATRICES, **head()),
    st.builds(m.TrackingDataMessage, elements=st.lists(st.tuples(SHORT, st.integers(1, 4), MATRICES), min_size=1, max_size=4).map(tuple), **head()),
    st.builds(
        m.PositionMessage,
        position=st.lists(NUMBERS, min_size=3, max_size=3).map(np.array),
        quaternion=st.lists(NUMBERS, min_size=4, max_size=4).map(np.array),
        **head(),
    ),
    st.builds(m.StatusMessage, code=st.integers(0, 65535), subcode=st.integers(-(2**63), 2**63 - 1), name=SHORT, text=TEXT, **head()),
    st.builds(m.StringMessage, text=TEXT, **head()),
    st.builds(m.CommandMessage, command_id=st.integers(0, 2**32 - 1), name=SHORT, text=TEXT, is_reply=st.booleans(), **head()),
    st.builds(m.StartTrackingMessage, resolution_ms=st.integers(0, 1000), coordinate_frame=SHORT, **head()),
    st.builds(m.StopTrackingMessage, **head()),
    st.builds(m.TrackingReplyMessage, accepted=st.booleans(), **head()),
    st.builds(m.StatusRequestMessage, **head()),
)


def there_and_back(message: m.Message, version: int) -> m.Message:
    data = wire.pack(message, version=version)
    header = wire.unpack_header(data[:58])
    assert header.kind == wire.kind_of(message)
    return wire.unpack(header, data[58:], 5.0)


def check_equal(name: str, before: object, after: object) -> None:
    if name == "elements":
        assert isinstance(before, tuple)
        assert isinstance(after, tuple)
        assert [(tool, kind) for tool, kind, _ in before] == [(tool, kind) for tool, kind, _ in after]
        assert all(np.array_equal(first[2], second[2]) for first, second in zip(before, after, strict=True))
    elif isinstance(before, np.ndarray):
        assert isinstance(after, np.ndarray)
        assert before.shape == after.shape
        if name == "matrix":
            assert np.allclose(before, after, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(before).max()) * 6)
        else:
            assert np.array_equal(before, after)
            assert name != "array" or before.dtype == after.dtype
    else:
        assert before == after, name


@settings(max_examples=300, deadline=None)
@given(MESSAGES, st.sampled_from([1, 2, 3]))
def test_round_trip(message: m.Message, version: int) -> None:
    after = there_and_back(message, version)
    assert type(after) is type(message)
    assert (after.version, after.arrival, after.timestamp) == (version, 5.0, message.timestamp)
    if version == 1:
        assert message.device.startswith(after.device)
        assert after.metadata == {}
    else:
        assert after.device == message.device
        assert {**after.metadata, **message.metadata} == dict(after.metadata)
    for name, value in vars(message).items():
        if name not in vars(m.Message("")):
            check_equal(name, value, getattr(after, name))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([*wire.KINDS, "NOVELTY"]), st.sampled_from([1, 2, 3]))
def test_any_body_is_read_or_refused(body: bytes, kind: str, version: int) -> None:
    header = wire.unpack_header(raw(kind, body, version=version)[:58])
    try:
        wire.unpack(header, body)
    except ContentError as error:
        assert "\n" not in str(error)


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=58, max_size=58))
def test_any_header_is_read_or_refused(data: bytes) -> None:
    try:
        wire.unpack_header(data)
    except FramingError as error:
        assert "\n" not in str(error)


def crc_by_the_bit(data: bytes) -> int:
    """ECMA-182's definition: polynomial division, most significant bit first."""
    register = 0
    for byte in data:
        register ^= byte << 56
        for _ in range(8):
            register = (register << 1 ^ (0x42F0E1EBA9EA3693 if register >> 63 else 0)) & (2**64 - 1)
    return register


def test_crc_is_ecma_182() -> None:
    # 0x6C40DF5F0B497347 is the check value of CRC-64/ECMA-182 in the catalogue of parametrised CRC algorithms
    assert crc64(b"123456789") == crc_by_the_bit(b"123456789") == 0x6C40DF5F0B497347
    for data in (b"", b"\0", bytes(range(256)), memoryview(b"abc"), bytearray(b"abc")):
        assert crc64(data) == crc_by_the_bit(bytes(data))


def test_transform_byte_by_byte() -> None:
    matrix = np.array([[1, 2, 3, 10], [4, 5, 6, 11], [7, 8, 9, 12], [0, 0, 0, 1.0]])
    data = wire.pack(m.TransformMessage(device="ProbeToTracker", timestamp=2.25, matrix=matrix))
    body = struct.pack(">12f", 1, 4, 7, 2, 5, 8, 3, 6, 9, 10, 11, 12)
    expected = b"\0\1TRANSFORM\0\0\0ProbeToTracker" + bytes(6) + struct.pack(">IIQQ", 2, 1 << 30, 48, crc_by_the_bit(body)) + body
    assert data == expected


def test_image_position_on_the_wire_is_the_centre() -> None:
    """A row of 3 pixels of 2 mm from (10, 0, 0) on: its centre is at (12, 0, 0)."""
    matrix = np.diag([2.0, 3.0, 4.0, 1.0])
    matrix[0, 3] = 10.0
    data = wire.pack(m.ImageMessage(device="Image", array=np.zeros((1, 1, 3), np.uint8), matrix=matrix))
    assert struct.unpack_from(">12f", data, 58 + 12) == (2, 0, 0, 0, 3, 0, 0, 0, 4, 12, 0, 0)
    assert struct.unpack_from(">HBBBB3H", data, 58) == (1, 1, 3, 2, 1, 3, 1, 1)
    assert np.array_equal(there_and_back(m.ImageMessage(device="Image", array=np.zeros((1, 1, 3), np.uint8), matrix=matrix), 1).matrix, matrix)


def test_lps_image_becomes_ras() -> None:
    content = struct.pack(">HBBBB3H12f6H", 1, 1, 3, 2, 2, 3, 1, 1, 2, 0, 0, 0, 3, 0, 0, 0, 4, 12, 7, 5, 0, 0, 0, 3, 1, 1) + b"abc"
    data = raw("IMAGE", content)
    message = wire.unpack(wire.unpack_header(data[:58]), data[58:])
    assert isinstance(message, m.ImageMessage)
    assert np.array_equal(message.matrix, [[-2, 0, 0, -10], [0, -3, 0, -7], [0, 0, 4, 5], [0, 0, 0, 1]])


def test_pixels_are_a_read_only_view_of_the_body() -> None:
    data = wire.pack(image())
    body = np.frombuffer(data, np.uint8)[58:].copy()
    message = wire.unpack(wire.unpack_header(data[:58]), body.data)
    assert isinstance(message, m.ImageMessage)
    assert np.shares_memory(message.array, body)
    assert not message.array.flags.writeable


def test_positions_of_three_lengths() -> None:
    def read(*numbers: float) -> m.Message:
        data = raw("POSITION", struct.pack(f">{len(numbers)}f", *numbers))
        return wire.unpack(wire.unpack_header(data[:58]), data[58:])

    assert np.array_equal(vars(read(1, 2, 3))["quaternion"], [0, 0, 0, 1])
    assert np.array_equal(vars(read(1, 2, 3, 0.5, 0.5, -0.5))["quaternion"], [0.5, 0.5, -0.5, 0.5])
    assert np.array_equal(vars(read(1, 2, 3, 0, 1, 0, 0))["quaternion"], [0, 1, 0, 0])
    with pytest.raises(ContentError, match="quaternion"):
        read(1, 2, 3, 0, 2, 0)
    with pytest.raises(ContentError, match="content size"):
        read(1, 2, 3, 4)


def test_full_name_of_the_metadata() -> None:
    long = "StylusTipToReferenceOfTheLiver"
    assert there_and_back(transform(long), 1).device == long[:20]
    assert there_and_back(transform(long), 2).device == long
    assert there_and_back(transform("ü" * 15), 1).device == "ü" * 10
    # a cut in the middle of a character, as senders that count bytes do it
    data = raw("TRANSFORM", wire.pack(transform("x"))[58:], device=("a" + "ü" * 10).encode()[:20])
    assert wire.unpack(wire.unpack_header(data[:58]), data[58:]).device == "a" + "ü" * 9
    # a name that was not cut stays what the header says
    other = transform("Probe")
    renamed = m.TransformMessage(device="Probe", matrix=other.matrix, metadata={"IGTL_DEVICE_NAME": "Stylus"})
    assert there_and_back(renamed, 2).device == "Probe"


@pytest.mark.parametrize(
    "message",
    [
        transform("x", timestamp=-1.0),
        transform("x", timestamp=float("nan")),
        transform("x", timestamp=2.0**32),
        m.StringMessage(device="x", text="a" * 70000),
        m.ImageMessage(device="x", array=np.zeros((1, 2, 3), bool), matrix=np.eye(4)),
        m.ImageMessage(device="x", array=np.zeros((2, 3), np.uint8), matrix=np.eye(4)),
        m.ImageMessage(device="x", array=np.zeros((1, 0, 3), np.uint8), matrix=np.eye(4)),
        m.TransformMessage(device="x", matrix=np.eye(4), metadata={str(n): "" for n in range(9000)}),
    ],
)
def test_what_does_not_fit_is_refused(message: m.Message) -> None:
    with pytest.raises(ContentError):
        wire.pack(message, version=2)


def test_a_limit_can_be_set() -> None:
    data = wire.pack(image())
    with pytest.raises(FramingError, match="at most 100 accepted"):
        wire.unpack_header(data[:58], 100)
