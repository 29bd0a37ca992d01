"""What a record says of itself when it comes back."""

from hypothesis import given
from hypothesis import strategies as st

from icat_stream.records import Coordinates
from icat_stream.stream import headers as h

numbers = st.integers(0, 2**62)
delays = st.builds(
    h.Delay,
    not_before=numbers,
    retries=numbers,
    parked_since=numbers,
    missing=st.lists(st.text(max_size=20), max_size=3).map(tuple),
)


@given(delays)
def test_what_it_waits_for_survives_the_topic(delay):
    assert h.delay(tuple(h.of_delay(delay))) == delay


junk = st.lists(
    st.tuples(
        st.sampled_from(
            [
                h.TOPIC,
                h.PARTITION,
                h.OFFSET,
                h.TIMESTAMP,
                h.ATTEMPTS,
                h.MISSING,
                h.NOT_BEFORE,
                h.RETRIES,
                h.PARKED_SINCE,
                "x",
            ]
        ),
        st.none() | st.binary(max_size=8) | st.sampled_from([b"1", b"-1", b"[1]"]),
    )
).map(tuple)


@given(junk)
def test_nonsense_is_survived(headers):
    delay = h.delay(headers)
    assert delay.not_before >= 0
    assert all(isinstance(name, str) for name in delay.missing)
    found = h.origin(headers)
    assert found is None or found[0].partition >= 0


def test_the_origin_is_read_from_the_headers_of_the_contract():
    headers = (
        ("icat-stream.topic", b"source"),
        ("icat-stream.partition", b"3"),
        ("icat-stream.offset", b"17"),
        ("icat-stream.timestamp", b"1700000000000"),
        ("icat-stream.attempts", b"4"),
    )
    where = Coordinates("source", 3, 17)
    assert h.origin(headers) == (where, 1_700_000_000_000, 4)
    assert h.origin(headers[1:]) is None


def test_a_long_error_message_is_cut_between_characters():
    text = h.message("ä" * 5000).decode()
    assert text.endswith("ä…")
    assert len(text.encode()) < 4100


def test_secrets_are_not_kept():
    given = (
        ("traceparent", b"00"),
        ("Authorization", b"S3CRET"),
        ("X-Api-Key", b"S3CRET"),
        ("our_db_password", b"S3CRET"),
        ("session-id", b"S3CRET"),
        (h.TOPIC, b"t"),
        ("keyword", b"token"),
        ("schema", None),
    )
    assert h.kept(given) == (given[0], *given[5:])
    assert h.foreign(given) == [given[0], *given[6:]]
