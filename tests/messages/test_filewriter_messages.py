"""Decoding the five FlatBuffers messages of the file writer's topic."""

import random
import struct
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import flatbuffers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streaming_data_types import (
    deserialise_pl72,
    deserialise_wrdn,
    serialise_6s4t,
    serialise_answ,
    serialise_pl72,
    serialise_wrdn,
    serialise_x5f2,
)

from icat_stream.messages import (
    Action,
    ActionOutcome,
    ActionResponse,
    FinishedWriting,
    Foreign,
    RunStart,
    RunStop,
    Status,
    Undecodable,
    decode,
    encode,
    schema_of,
    without_secrets,
)
from icat_stream.records import Rejection

text = st.text(
    st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40
)
filled = text.filter(bool)
# Python's own date arithmetic ends long before a uint64 of milliseconds does.
milliseconds = st.integers(0, 2**63)


def table(schema: str, slots: int, **strings: str) -> bytes:
    """Build a message with only the named string slots (``s0=…``) in it."""
    builder = flatbuffers.Builder(64)
    offsets = {int(k[1:]): builder.CreateString(v) for k, v in strings.items()}
    builder.StartObject(slots)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    builder.Finish(builder.EndObject(), file_identifier=schema.encode())
    return bytes(builder.Output())


class TestAgainstTheOracle:
    @given(
        service_id=text,
        job_id=text,
        error_encountered=st.booleans(),
        file_name=text,
        metadata=st.none() | filled,
        message=st.none() | filled,
    )
    def test_wrdn_both_ways(self, **fields):
        expected = FinishedWriting(**fields)
        assert decode(serialise_wrdn(**fields)) == expected
        assert deserialise_wrdn(encode(expected))._asdict() == fields
        assert decode(encode(expected)) == expected

    @given(
        job_id=text,
        filename=text,
        start_time=milliseconds,
        stop_time=milliseconds,
        run_name=text,
        nexus_structure=text,
        service_id=text,
        instrument_name=text,
        metadata=text,
        control_topic=text,
    )
    def test_pl72_both_ways(self, **fields):
        structure = fields["nexus_structure"].encode()
        expected = RunStart(**{**fields, "nexus_structure": structure})
        assert decode(serialise_pl72(**fields)) == expected
        back = deserialise_pl72(encode(expected))._asdict()
        assert {name: back[name] for name in fields} == fields
        assert decode(encode(expected)) == expected

    @given(
        stop_time=milliseconds,
        run_name=text,
        job_id=text,
        service_id=text,
        command_id=text,
    )
    def test_6s4t(self, **fields):
        assert decode(serialise_6s4t(**fields)) == RunStop(**fields)

    @given(
        software_name=text,
        software_version=text,
        service_id=text,
        host_name=text,
        process_id=st.integers(0, 2**32 - 1),
        update_interval=st.integers(0, 2**32 - 1),
        status_json=text,
    )
    def test_x5f2(self, **fields):
        assert decode(serialise_x5f2(**fields)) == Status(**fields)

    @given(
        service_id=text,
        job_id=text,
        command_id=text,
        action=st.sampled_from(Action),
        outcome=st.sampled_from(ActionOutcome),
        message=text,
        status_code=st.integers(-(2**31), 2**31 - 1),
        seconds=st.integers(0, 2**31),
    )
    def test_answ(self, seconds, **fields):
        stop = datetime.fromtimestamp(seconds, tz=UTC)
        assert decode(serialise_answ(**fields, stop_time=stop)) == ActionResponse(
            **fields, stop_time=seconds * 1000
        )


class TestWhatIsOptional:
    def test_optional_fields_may_be_absent(self):
        assert decode(table("pl72", 13)) == RunStart()
        assert decode(table("6s4t", 5)) == RunStop()
        assert decode(table("x5f2", 7)) == Status()
        assert decode(table("answ", 8, s0="writer", s1="job")) == ActionResponse(
            service_id="writer", job_id="job"
        )
        assert decode(
            table("wrdn", 6, s0="writer", s1="job", s3="a.nxs")
        ) == FinishedWriting(service_id="writer", job_id="job", file_name="a.nxs")

    def test_messages_of_an_older_schema_have_fewer_fields(self):
        assert decode(table("6s4t", 3, s2="job")) == RunStop(job_id="job")

    def test_messages_of_a_later_schema_have_more_fields(self):
        later = table("wrdn", 30, s0="w", s1="j", s3="f", s29="new")
        assert decode(later) == FinishedWriting(
            service_id="w", job_id="j", file_name="f"
        )

    @given(action=st.integers(0, 127), outcome=st.integers(0, 127))
    def test_answers_may_have_actions_that_have_no_name_yet(self, action, outcome):
        stop = datetime.fromtimestamp(0, tz=UTC)
        value = serialise_answ("w", "j", "c", action, outcome, "", 200, stop)
        found = decode(value)
        assert (found.action, found.outcome) == (action, outcome)

    @pytest.mark.parametrize(
        ("schema", "required"),
        [
            ("wrdn", {0: "service_id", 1: "job_id", 3: "file_name"}),
            ("answ", {0: "service_id", 1: "job_id"}),
        ],
    )
    def test_required_fields_must_be_there(self, schema, required):
        for slot, name in required.items():
            others = {f"s{other}": "x" for other in required if other != slot}
            with pytest.raises(Undecodable, match=f"{schema}.{name} is absent"):
                decode(table(schema, 8, **others))


class TestHugeRunStarts:
    def test_the_structure_is_neither_copied_nor_checked(self):
        value = encode(RunStart(job_id="j", nexus_structure=b"\xff" * 1_000_000))
        structure = decode(value).nexus_structure
        assert structure.obj is value
        assert structure == b"\xff" * 1_000_000

    def test_the_structure_is_not_shown(self):
        assert len(repr(RunStart(nexus_structure=b"x" * 10_000))) < 500


class TestHints:
    def hints(self, metadata):
        return FinishedWriting(
            service_id="", job_id="", file_name="", metadata=metadata
        ).hints

    def test_an_object_is_given_as_it_is(self):
        assert self.hints('{"proposal": 7, "tags": ["a"]}') == {
            "proposal": 7,
            "tags": ["a"],
        }
        assert RunStart(metadata='{"sample": "ice"}').hints == {"sample": "ice"}

    @pytest.mark.parametrize(
        "metadata",
        [None, "", "{}", "[1]", "null", "3", "{", "no json", "[" * 100_000],
        ids=lambda value: repr(value)[:12],
    )
    def test_anything_else_is_no_hint(self, metadata):
        assert self.hints(metadata) == {}


class TestSchemaOf:
    @pytest.mark.parametrize("schema", ["wrdn", "pl72", "ev44", "0000"])
    def test_four_lower_case_letters_or_digits(self, schema):
        assert schema_of(b"\0\0\0\0" + schema.encode()) == schema

    @pytest.mark.parametrize(
        "value",
        [None, b"", b"\0\0\0\0wrd", b"\0\0\0\0WRDN", b"\0\0\0\0wrd\xff", b"[1, 2, 3]"],
    )
    def test_anything_else_has_no_schema(self, value):
        assert schema_of(value) is None

    def test_others_are_foreign_whatever_they_hold(self):
        assert decode(b"\0\0\0\0ev44") == Foreign("ev44")
        assert decode(b"\xff\xff\xff\xffhs01" + b"\xff" * 100) == Foreign("hs01")


class TestRefusals:
    valid = encode(
        FinishedWriting(service_id="writer", job_id="job-1", file_name="/d/a.nxs")
    )

    def patched(self, at: int, form: str, value: int) -> bytes:
        buffer = bytearray(self.valid)
        struct.pack_into(form, buffer, at, value)
        return bytes(buffer)

    def root(self) -> int:
        return struct.unpack_from("<I", self.valid)[0]

    @pytest.mark.parametrize(
        ("value", "why"),
        [
            (None, "tombstone"),
            (b"", "0 bytes"),
            (b"\x10\0\0\0wrd", "7 bytes"),
            (b"\x10\0\0\0wrdn", "cut short"),
            (b"\x08\0\0\0wrdn" + bytes(20), "vtable"),
            (b"\x00\0\0\0wrdn" + bytes(20), "root table at byte 0"),
            (b"\xff\xff\xff\x7fwrdn" + bytes(20), "root table"),
            (b'{"id": "a", "file_name": "b"}', "looks like JSON"),
            (b"\xff" * 40, "schema identifier"),
        ],
        ids=lambda value: repr(value)[:14],
    )
    def test_what_is_no_message(self, value, why):
        with pytest.raises(Undecodable, match=why):
            decode(value)

    def test_any_truncation(self):
        for size in range(len(self.valid) - 7):
            with pytest.raises(Undecodable):
                decode(self.valid[:size])

    def test_negative_vtable_offsets(self):
        root = self.root()
        for back in (root + 4, root + 1000, 2**31 - 1):
            with pytest.raises(Undecodable, match="vtable at byte -"):
                decode(self.patched(root, "<i", back))

    def test_a_vtable_beyond_the_end(self):
        with pytest.raises(Undecodable, match="vtable at byte"):
            decode(self.patched(self.root(), "<i", -1000))

    def test_a_field_outside_its_table(self):
        with pytest.raises(Undecodable, match=r"wrdn.service_id lies at 4000"):
            decode(self.patched(12, "<H", 4000))

    def test_a_string_beyond_the_end(self):
        at = self.valid.index(b"writer") - 4
        with pytest.raises(Undecodable, match=r"wrdn.service_id runs from"):
            decode(self.patched(at, "<I", 5000))

    def test_a_string_without_its_nul(self):
        at = self.valid.index(b"writer") - 4
        with pytest.raises(Undecodable, match="does not end with a NUL"):
            decode(self.patched(at, "<I", 5))

    def test_text_that_is_not_utf8(self):
        with pytest.raises(Undecodable, match=r"wrdn.job_id is not UTF-8 at byte \d"):
            decode(self.valid.replace(b"job-1", b"job\xff1"))

    def test_a_nul_inside_a_text(self):
        with pytest.raises(Undecodable, match=r"wrdn.job_id holds a NUL"):
            decode(self.valid.replace(b"job-1", b"job\x001"))

    def test_a_bool_that_is_none(self):
        failed = bytearray(
            encode(
                FinishedWriting(
                    service_id="w", job_id="j", file_name="f", error_encountered=True
                )
            )
        )
        at = struct.unpack_from("<I", failed)[0] + 16
        assert failed[at] == 1
        failed[at] = 2
        with pytest.raises(Undecodable, match=r"error_encountered is 2"):
            decode(bytes(failed))

    def test_an_undecodable_record_is_rejected_for_good(self):
        assert issubclass(Undecodable, Rejection)


SCHEMAS = ["wrdn", "pl72", "6s4t", "x5f2", "answ"]

VALID = {
    "wrdn": serialise_wrdn("writer-1", "job-1", True, "/data/a.nxs", "{}", "oh no"),
    "pl72": serialise_pl72("job-1", "a.nxs", 1, 2, "run", '{"children": []}', "w"),
    "6s4t": serialise_6s4t("job-1", "run", "writer-1", "command", 5),
    "x5f2": serialise_x5f2("writer", "1.0", "writer-1", "host", 7, 2000, "{}"),
    "answ": serialise_answ(
        "writer-1",
        "job-1",
        "command",
        Action.START_JOB,
        ActionOutcome.FAILURE,
        "oh no",
        400,
        datetime(2026, 1, 1, tzinfo=UTC),
    ),
}


def decodes(value: bytes) -> object:
    try:
        return decode(value)
    except Undecodable:
        return None


class TestDamage:
    @given(schema=st.sampled_from(SCHEMAS), noise=st.binary(max_size=200))
    def test_noise_behind_an_identifier(self, schema, noise):
        decodes(noise[:4] + schema.encode() + noise[4:])

    @given(value=st.binary(max_size=200))
    def test_noise(self, value):
        decodes(value)

    @given(
        schema=st.sampled_from(SCHEMAS),
        damage=st.lists(
            st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6
        ),
        cut=st.integers(0, 10_000),
    )
    def test_damaged_messages(self, schema, damage, cut):
        value = bytearray(VALID[schema])
        for at, byte in damage:
            value[at % len(value)] = byte
        decodes(bytes(value[: cut % (4 * len(value))]))

    def test_damaged_offsets_seldom_go_unnoticed(self):
        """No reader sees all damage; this one sees all but about one in a hundred."""
        value = VALID["wrdn"]
        expected = decode(value)
        texts = {
            at
            for word in (b"writer-1", b"job-1", b"/data/a.nxs", b"{}", b"oh no")
            for at in range(value.index(word), value.index(word) + len(word))
        }
        structure = [at for at in range(len(value)) if at not in texts]
        dice = random.Random(1)
        trials = 20_000
        different = 0
        for _ in range(trials):
            damaged = bytearray(value)
            damaged[dice.choice(structure)] = dice.randrange(256)
            different += decodes(bytes(damaged)) not in (None, expected)
        assert different < trials * 0.02


def test_neither_numpy_nor_flatbuffers_is_imported():
    code = (
        "import sys, icat_stream.messages;"
        "print([m for m in ('numpy', 'flatbuffers') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("metadata", "left"),
    [
        ('{"sample": "x", "password": "S3CRET"}', '{"sample":"x"}'),
        ('{"a": [{"X-Api-Key": "S3CRET"}, 1]}', '{"a":[{},1]}'),
        ('{"a": {"db_password": "S3CRET"}}', '{"a":{}}'),
        ('[{"name": "token", "value": "S3CRET"}]', '[{"name":"token"}]'),
        ('{"ü": "password", "b": "{\\"token\\": \\"S3CRET\\"}"}', None),
        ('{"token": "S3CRET"', "{}"),
        ("[" * 100_000 + '"token: S3CRET"' + "]" * 100_000, None),
        ('{"sample": "x", "keyword": "token ring"}', None),
        ("", None),
    ],
)
@pytest.mark.parametrize("kind", ["wrdn", "pl72"])
def test_secrets_in_metadata(kind, metadata, left):
    message = (
        FinishedWriting(
            service_id="s",
            job_id="j",
            file_name="/data/f.nxs",
            metadata=metadata,
            message="m",
        )
        if kind == "wrdn"
        else RunStart(job_id="j", filename="/f", metadata=metadata, control_topic="c")
    )
    value = encode(message)
    kept = without_secrets(value)
    assert len(kept) == len(value)
    assert b"S3CRET" not in kept
    found = decode(kept)
    if "S3CRET" not in metadata:
        assert kept == value
    elif left is not None:
        assert found.metadata.rstrip() == left
    assert replace(found, metadata=None) == replace(message, metadata=None)


def test_secrets_in_what_is_no_message():
    assert b"S3CRET" not in without_secrets(b'{"password": "S3CRET", "a": 1}')
    for value in (b"", b"{", b"\xff" * 9, b'{"a": 1}'):
        assert without_secrets(value) == value
