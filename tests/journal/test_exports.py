"""Which state of a document in another system is the newest."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from icat_stream.journal import Export


@pytest.fixture
def exports(journal):
    return journal.exports


def test_what_a_system_holds_is_known_once_it_is_written(exports):
    (first,) = exports.begin("s", ["a\0/ü"])
    assert first == Export(key="a\0/ü", version=1, sha256=None)
    assert exports.finish("s", [first], {first.key: "x"}) == set()
    (second,) = exports.begin("s", [first.key])
    assert second == Export(key=first.key, version=2, sha256="x")
    # Until its end it is not known, also where there will be none.
    (third,) = exports.begin("s", [first.key])
    assert third == Export(key=first.key, version=3, sha256=None)


def test_who_is_overtaken_is_told(exports):
    (old, other) = exports.begin("s", ["a", "b"])
    (new,) = exports.begin("s", ["a"])
    assert exports.finish("s", [old, other], {"a": "old", "b": "x"}) == {"a"}
    assert exports.finish("s", [new], {"a": "new"}) == set()
    held = exports.held("s", ["a", "b", "c"])
    assert {key: one.sha256 for key, one in held.items()} == {"a": "new", "b": "x"}


def test_systems_are_apart(exports):
    (one,) = exports.begin("s", ["a"])
    exports.finish("s", [one], {"a": "x"})
    assert exports.held("other", ["a"]) == {}
    (other,) = exports.begin("other", ["a"])
    assert other.version == 1


def test_many_at_once_get_versions_of_their_own(exports):
    keys = [f"k{n}" for n in range(20)]

    def begin(turn):
        some = keys if turn % 2 else list(reversed(keys))
        return {one.key: one.version for one in exports.begin("s", some)}

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(begin, range(12)))
    for key in keys:
        assert sorted(each[key] for each in found) == list(range(1, 13))


def test_more_than_one_question_holds(exports):
    keys = [f"k{n}" for n in range(2_500)]
    first = exports.begin("s", keys)
    assert [one.key for one in first] == keys
    assert {one.version for one in first} == {1}
    exports.begin("s", keys[:3])
    sums = {key: f"sum of {key}" for key in keys}
    assert exports.finish("s", first, sums) == set(keys[:3])
    held = exports.held("s", keys)
    assert held["k2499"].sha256 == "sum of k2499"
    assert held["k0"] == Export(key="k0", version=2, sha256=None)
