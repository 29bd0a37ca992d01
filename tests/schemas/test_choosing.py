"""Which schema is for which file, and what has to be read to tell."""

import h5py
import pytest

from icat_stream.nexus import NexusReader
from icat_stream.records import Rejection

from .conftest import announced, content


def schema(selector: str, extra: str = "") -> str:
    return f"""
        selector: {selector}
        dataset: {{investigation: p, name: n}}
        {extra}
        """


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ("{always: true}", True),
        ("{path: name, equals: run_7.nxs}", True),
        ("{path: name, equals: run_8.nxs}", False),
        ("{path: name, ends_with: [.hdf, .nxs]}", True),
        ("{path: full, starts_with: /data/}", True),
        ("{path: folder, equals: /data/2026}", True),
        ("{path: stem, matches: '^run_[0-9]+$'}", True),
        ("{path: stem, matches: '^run$'}", False),
        ("{path: name, starts_with: run, ends_with: .hdf}", False),
        ("{message: file_name, contains: run_7}", True),
        ("{message: job_id, equals: job-1}", True),
        ("{message: service_id, equals: other}", False),
        ("{message: metadata.kind, equals: raw}", True),
        ("{message: metadata.number, equals: 3}", True),
        ("{message: metadata.nothing, exists: true}", False),
        ("{message: metadata.nothing, exists: false}", True),
        ("{message: metadata.nothing, contains: ''}", False),
        ("{nexus: /entry/definition, equals: NXsas}", True),
        ("{nexus: /entry/definition, equals: [NXmx, NXsas]}", True),
        ("{nexus: /entry/run, equals: 7}", True),
        ("{nexus: /entry/user_*/name, contains: bo}", True),
        ("{nexus: /entry/nothing, exists: true}", False),
        ("{not: {nexus: /entry/nothing, exists: true}}", True),
        ("{all: [{always: true}, {path: name, equals: x}]}", False),
        ("{all: [{always: true}, {path: name, contains: run}]}", True),
        ("{any: [{path: name, equals: x}, {path: name, contains: run}]}", True),
        ("{any: [{path: name, equals: x}, {path: name, equals: y}]}", False),
        ("{not: {any: [{path: name, equals: x}, {not: {always: true}}]}}", True),
    ],
)
def test_selectors(schemas, selector, fits):
    chosen = schemas(schema(selector), schema("{always: true}", "order: 999"))
    message = announced(metadata='{"kind": "raw", "number": 3}')
    file = content(
        {
            "/entry/definition": "NXsas",
            "/entry/run": 7,
            "/entry/user_*/name": ("ann", "bo"),
        }
    )
    found = chosen.choose("/data/2026/run_7.nxs", message, file)
    assert found.id == ("s0" if fits else "s1")


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ("{nexus: /entry/data, exists: true}", True),
        ("{nexus: /entry/data, exists: false}", False),
        ("{nexus: /entry/data, contains: ''}", False),
        ("{nexus: /entry/data, matches: object}", False),
        ("{nexus: /entry/data, exists: true, matches: ''}", False),
        ("{not: {nexus: /entry/data, equals: x}}", True),
        ("{any: [{nexus: /entry/data, equals: x}, {nexus: /run, equals: 7}]}", True),
    ],
)
def test_what_is_there_but_no_value(schemas, tmp_path, selector, fits):
    path = tmp_path / "run_7.nxs"
    with h5py.File(path, "w") as file:
        file["run"] = 7
        file.create_group("entry/data")
    path.chmod(0o444)
    chosen = schemas(schema(selector), schema("{always: true}", "order: 999"))
    with NexusReader([tmp_path], workers=1) as reader:
        found = reader.read(str(path), chosen.paths(str(path), None))
    assert chosen.choose(str(path), None, found).id == ("s0" if fits else "s1")


def test_order_then_name_decides(schemas):
    found = schemas(
        schema("{always: true}", "id: c"),
        schema("{always: true}", "id: b"),
        schema("{path: name, equals: x.nxs}", "order: 1"),
    )
    assert found.choose("/d/y.nxs", announced(), content()).id == "b"
    assert found.choose("/d/x.nxs", announced(), content()).id == "s2"


def test_no_schema_names_those_tried(schemas):
    found = schemas(
        schema("{path: name, equals: x}"), schema("{path: name, equals: y}")
    )
    with pytest.raises(Rejection, match=r"/d/z.nxs: no metadata schema .* s0, s1"):
        found.choose("/d/z.nxs", announced(), content())


def test_a_file_without_a_message_has_no_message_fields(schemas):
    found = schemas(
        schema("{message: file_name, exists: true}"),
        schema("{not: {message: file_name, exists: true}}"),
    )
    assert found.choose("/d/z.nxs", None, content()).id == "s1"


class TestPaths:
    def paths(self, *selectors: str) -> list[str]:
        return [
            schema(
                selector,
                f"variables: {{x: {{nexus: [/v{number}, '{{entry}}/w']}}}}",
            )
            for number, selector in enumerate(selectors)
        ]

    def test_of_schemas_that_are_ruled_out_nothing_is_read(self, schemas):
        found = schemas(
            *self.paths(
                "{path: name, equals: other}",
                "{all: [{path: name, equals: other}, {nexus: /s1, equals: a}]}",
                "{always: true}",
            )
        )
        assert found.paths("/d/x.nxs", announced()) == {"/v2", "/{entry}/w"}

    def test_of_schemas_that_may_be_chosen_everything_is_read(self, schemas):
        found = schemas(
            *self.paths(
                "{nexus: /s0, equals: a}",
                "{not: {any: [{nexus: /s1, equals: a}, {path: name, equals: other}]}}",
                "{always: true}",
            )
        )
        assert found.paths("/d/x.nxs", announced()) == {
            "/s0",
            "/s1",
            "/v0",
            "/v1",
            "/v2",
            "/{entry}/w",
        }

    def test_behind_one_that_is_certain_nothing_is_read(self, schemas):
        found = schemas(*self.paths("{always: true}", "{nexus: /s1, equals: a}"))
        assert found.paths("/d/x.nxs", announced()) == {"/v0", "/{entry}/w"}

    def test_an_undecided_part_is_no_decision(self, schemas):
        found = schemas(
            *self.paths(
                "{any: [{path: name, equals: x.nxs}, {nexus: /s0, equals: a}]}",
                "{nexus: /s1, equals: a}",
            )
        )
        assert found.paths("/d/x.nxs", announced()) == {"/s0", "/v0", "/{entry}/w"}

    def test_what_tells_a_finished_file_and_links_are_read_too(self, schemas):
        found = schemas(
            schema(
                "{always: true}",
                "settled_when: /entry/end_time\n"
                "        datafiles: {include_external_links: true,"
                " link_paths: ['/entry/data/*']}",
            )
        )
        assert found.paths("/d/x.nxs", None) == {"/entry/end_time", "/entry/data/*"}
        assert found.schemas[0].settled_when == "/entry/end_time"

    def test_links_are_wanted_by_a_schema_that_may_be_chosen(self, schemas):
        links = "datafiles: {include_external_links: true}"
        found = schemas(
            schema("{path: stem, equals: a}", links),
            schema("{path: stem, equals: b}"),
            schema("{nexus: /s, equals: x}", links),
        )
        assert found.wants_links("/d/a.nxs", None)
        assert not found.wants_links("/d/b.nxs", None)
        assert found.wants_links("/d/c.nxs", None)
