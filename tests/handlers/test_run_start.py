"""The sample of a run is found in what control systems really send."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icat_stream.handlers.run_start import sample_of
from icat_stream.messages import RunStart

STRUCTURE = {
    "children": [
        {
            "type": "group",
            "name": "entry",
            "attributes": [
                {"name": "NX_class", "dtype": "string", "values": "NXentry"}
            ],
            "children": [
                {"module": "dataset", "config": {"name": "title", "values": "a scan"}},
                {
                    "type": "group",
                    "name": "sample",
                    "attributes": [{"name": "NX_class", "values": "NXsample"}],
                    "children": [
                        {
                            "module": "dataset",
                            "config": {"name": "name", "values": "Fe"},
                        }
                    ],
                },
            ],
        }
    ]
}


@pytest.mark.parametrize(
    "metadata",
    ['{"sample_name": "Fe"}', '{"sample": " Fe "}', '{"sample": {"name": "Fe"}}'],
)
def test_sample_in_the_metadata(metadata):
    assert sample_of(RunStart(metadata=metadata)) == "Fe"


def test_sample_in_the_structure():
    structure = json.dumps(STRUCTURE).encode()
    assert sample_of(RunStart(metadata="{}", nexus_structure=structure)) == "Fe"


@pytest.mark.parametrize("structure", [None, b"", b"{", b"[1]", b'{"children": 7}'])
def test_no_sample(structure):
    assert sample_of(RunStart(nexus_structure=structure)) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["children", "attributes", "name", "values", "config"]),
            inner,
        )
    ),
)


@given(json_values)
def test_any_structure_is_survived(structure):
    found = sample_of(RunStart(nexus_structure=json.dumps(structure).encode()))
    assert found is None or isinstance(found, str)
