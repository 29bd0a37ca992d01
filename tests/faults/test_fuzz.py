"""A little of `make fuzz`, always the same."""

import json

import pytest

from faults.fuzz import DATASET, XML, fuzz_files, fuzz_values, messages
from faults.fuzz_calls import fuzz_calls
from icat_stream.messages import decode, read_document


def test_mutated_messages_are_decoded_or_refused():
    assert fuzz_values(decode, messages(), 50_000, seed=1) == []


def test_mutated_documents_are_read_or_refused():
    seeds = [json.dumps(DATASET).encode(), XML]
    assert fuzz_values(read_document, seeds, 20_000, seed=1) == []


def test_damaged_files_are_read_or_refused():
    assert fuzz_files(20, seed=1) == []


@pytest.mark.facility
def test_hostile_calls_of_the_data_service_are_answered():
    assert fuzz_calls(500, seed=1) == []
