"""Frames over a pipe."""

import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icat_stream.nexus import child_pipe


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for end in (reading, writing):
        try:
            os.close(end)
        except OSError:
            continue  # the test closed it


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(
    max_examples=60,
    deadline=None,
)
@given(st.dictionaries(st.text(), json, max_size=4))
def test_what_is_sent_is_received(
    pipe: tuple[int, int], message: dict[str, object]
) -> None:
    child_pipe.send(pipe[1], child_pipe.pack(message))
    assert child_pipe.receive(pipe[0], until=time.monotonic() + 120) == message


def test_more_than_the_pipe_holds(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    message = {"text": "x" * 3_000_000}
    sender = threading.Thread(
        target=child_pipe.send,
        args=(pipe[1], child_pipe.pack(message)),
        kwargs={"until": time.monotonic() + 120},
    )
    sender.start()
    assert child_pipe.receive(pipe[0]) == message
    sender.join()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"abc",
        struct.pack("!Q", 10) + b"{}",
        struct.pack("!Q", 2**62),
        struct.pack("!Q", 3) + b"[1]",
        struct.pack("!Q", 3) + b"{]}",
        struct.pack("!Q", 2) + b"\xff\xfe",
    ],
)
def test_what_is_no_frame(pipe: tuple[int, int], sent: bytes) -> None:
    os.write(pipe[1], sent)
    os.close(pipe[1])
    with pytest.raises(child_pipe.PipeClosed):
        child_pipe.receive(pipe[0], until=time.monotonic() + 120)


def test_deadlines(pipe: tuple[int, int]) -> None:
    with pytest.raises(child_pipe.DeadlinePassed):
        child_pipe.receive(pipe[0], until=time.monotonic() + 0.01)
    os.set_blocking(pipe[1], False)
    with pytest.raises(child_pipe.DeadlinePassed):
        child_pipe.send(pipe[1], b"x" * 10**6, until=time.monotonic() + 0.01)


def test_nobody_reads() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with closing(os.fdopen(writing, "wb")), pytest.raises(child_pipe.PipeClosed):
        child_pipe.send(writing, child_pipe.pack({}))
