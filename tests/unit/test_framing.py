"""Frames as bytes: what we send is what a stock parser reads, and what clients send is counted however it is cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol

from notify.framing import (
    CLOSE_FLOOD,
    CLOSE_TOO_BIG,
    LARGEST_FRAME,
    MINUTE_S,
    MOST_FRAMES,
    Meter,
    close_frame,
    text_frame,
)


def client_frame(size: int, kind: int = 0x81) -> bytes:
    """As a browser sends it, masked with zeros."""
    if size < 126:
        head = bytes((kind, 0x80 | size))
    elif size < 65536:
        head = bytes((kind, 0xFE)) + size.to_bytes(2)
    else:
        head = bytes((kind, 0xFF)) + size.to_bytes(8)
    return head + bytes(4) + b"x" * size


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 300_000])
def test_a_text_is_one_frame_that_others_can_read(size):
    parser = FrameProtocol(client=True, extensions=[])
    parser.receive_bytes(text_frame("x" * size))
    frames = list(parser.received_frames())
    assert [(frame.payload, frame.message_finished) for frame in frames] == [("x" * size, True)]


@given(st.text())
def test_any_text_arrives_as_it_is_or_without_what_is_no_unicode(text):
    parser = FrameProtocol(client=True, extensions=[])
    parser.receive_bytes(text_frame(text))
    assert [frame.payload for frame in parser.received_frames()] == [text.encode("utf-8", "replace").decode()]


def test_a_reason_that_is_too_long_is_cut():
    parser = FrameProtocol(client=True, extensions=[])
    parser.receive_bytes(close_frame(4410, "y" * 200))
    [frame] = parser.received_frames()
    assert frame.payload == (4410, "y" * 123)


@given(st.lists(st.integers(0, LARGEST_FRAME), max_size=20), st.lists(st.integers(0), max_size=30))
def test_frames_within_the_limits_are_no_fault_however_they_are_cut(sizes, places):
    meter = Meter()
    pieces = cut(b"".join(client_frame(size) for size in sizes), places)
    assert [meter.fault(piece, 0.0) for piece in pieces] == [None] * len(pieces)


@given(st.lists(st.integers(0, 200), max_size=5), st.integers(LARGEST_FRAME + 1, 2**40), st.lists(st.integers(0)))
def test_a_frame_that_is_announced_too_large_is_one_before_it_has_come(sizes, large, places):
    announced = bytes((0x81, 0xFF)) + large.to_bytes(8)
    data = b"".join(client_frame(size) for size in sizes) + announced
    meter = Meter()
    faults = [fault for piece in cut(data, places) if (fault := meter.fault(piece, 0.0))]
    assert [code for code, _ in faults[:1]] == [CLOSE_TOO_BIG]


@given(st.sampled_from([0x81, 0x01, 0x00, 0x89, 0x8A]), st.lists(st.integers(0), max_size=30))
def test_one_frame_too_many_in_a_minute_is_a_flood(kind, places):
    meter = Meter()
    pieces = cut(client_frame(0, kind) * (MOST_FRAMES + 1), places)
    faults = [fault for piece in pieces if (fault := meter.fault(piece, 100.0))]
    assert [code for code, _ in faults[:1]] == [CLOSE_FLOOD]


def test_the_next_minute_begins_anew():
    meter = Meter()
    assert meter.fault(client_frame(0) * MOST_FRAMES, 100.0) is None
    assert meter.fault(client_frame(0) * MOST_FRAMES, 100.0 + MINUTE_S + 1) is None
