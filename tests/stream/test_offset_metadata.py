"""The text beside a committed offset."""

import base64
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icat_stream.stream.offset_metadata import (
    SPAN,
    NewerVersion,
    decode,
    encode,
    home_of,
)

LONGEST = "t" * 249 + "[12345]"


@given(
    home=st.from_regex(r"([A-Za-z0-9._-]{1,249}\[[0-9]{1,5}\])?", fullmatch=True),
    finished=st.integers(0, 2**2000).map(lambda n: n & ~1),
)
def test_what_is_written_is_read(home, finished):
    text = encode(home, finished)
    assert (home_of(text), decode(text)) == (home, finished)


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 0.95, 1.0])
def test_a_whole_span_fits_whatever_is_in_it(share):
    chance = random.Random(1)
    finished = sum(1 << n for n in range(1, SPAN) if chance.random() < share)
    text = encode(LONGEST, finished)
    # A broker counts a NUL.
    assert len(text) < 4096
    assert text.isascii()
    assert decode(text) == finished


def test_where_nothing_is_finished_it_is_the_home_alone():
    assert encode("source[3]", 0) == "source[3]"
    assert encode("", 0) == ""
    assert (home_of("source[3]"), decode("source[3]")) == ("source[3]", 0)


def test_a_newer_version_is_told_from_nonsense():
    with pytest.raises(NewerVersion):
        decode("~2source[3];b" + base64.b64encode(b"\2").decode())
    assert home_of("~2source[3];whatever") == "source[3]"


BOMB = base64.b64encode(zlib.compress(bytes(10**8))).decode()


@pytest.mark.parametrize(
    "text",
    [
        "~1",
        "~1;",
        "~1;x",
        "~1;b*",
        "~1;q" + base64.b64encode(b"\2").decode(),
        "~1;b" + base64.b64encode(b"\1").decode(),
        "~1;z" + base64.b64encode(b"\2\3").decode(),
        "~1;z" + base64.b64encode(zlib.compress(b"\2" * 99)[:-3]).decode(),
        "~1;z" + BOMB,
    ],
)
def test_nonsense_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        decode(text)


@given(st.text())
def test_whatever_stands_there_it_is_read_or_refused(text):
    try:
        found = decode(text)
    except (ValueError, NewerVersion):
        return
    assert found >= 0
