"""Groups by their class, a place for each match, and each NXentry by itself."""

import h5py
import pytest

from icat_stream.records import FieldPath, FieldValue, Rejection


def group(parent, at, nx_class, **values):
    made = parent.create_group(at)
    made.attrs["NX_class"] = nx_class
    for key, value in values.items():
        made[key] = value
    return made


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.nxs"
    with h5py.File(path, "w") as file:
        for number, title in (("2.1", "second"), ("10.1", "tenth")):
            entry = group(file, number, "NXentry", title=title)
            group(entry, "sample_here", "NXsample", name=f"sample of {title}")
            group(entry, "beta", "NXdetector", distance=2.0)
            entry["beta/distance"].attrs["units"] = "m"
            group(entry, "alpha", "NXdetector", distance=150.0)
            entry["alpha/distance"].attrs["units"] = "mm"
            group(entry, "user_1", "NXuser", name="Mia", email="mia@example.org")
            group(entry, "user_2", "NXuser", name="Ole")
            group(entry, "user_10", "NXuser", name="Pia", email="pia@example.org")
            entry["NXsample"] = "a field of that name"
            entry["same"] = h5py.SoftLink("sample_here")
    path.chmod(0o444)
    return path


def read(reader, file, *asked):
    return reader.read(str(file), asked)


class TestClasses:
    def test_the_one_of_a_class(self, reader, file):
        asked = "{entry}/{NXsample}/name"
        found = read(reader, file, asked).values
        assert found[asked].value == "sample of second"
        # Where it is, too; a link to it makes it no second one.
        assert found["/2.1/same/name"].value == "sample of second"

    def test_one_of_several_is_refused_by_name(self, reader, file):
        asked = "{entry}/{NXdetector}/distance"
        found = read(reader, file, asked).values
        with pytest.raises(
            Rejection,
            match=r"/2.1 has 2 groups NXdetector \(alpha, beta\), expected one",
        ):
            found[asked]

    def test_all_of_a_class(self, reader, file):
        asked = "{entry}/{NXdetector*}/distance"
        found = read(reader, file, asked).values[asked]
        assert found.value == (150.0, 2.0)
        assert [part.units for _, part in found.parts] == ["mm", "m"]

    def test_none_of_a_class(self, reader, file):
        assert (
            "/10.1/{NXsource}/name"
            not in read(reader, file, "/10.1/{NXsource}/name").values
        )

    def test_an_entry_too(self, reader, file):
        asked = "/{NXentry*}/title"
        found = read(reader, file, asked).values[asked]
        assert found.value == ("second", "tenth")


class TestAligned:
    def test_each_match_has_its_place(self, reader, file):
        asked = [
            FieldPath(path=f"{{entry}}/{place}", aligned=True)
            for place in ("user_*/name", "user_*/email", "{NXuser*}/email")
        ]
        found = read(reader, file, *asked).values
        assert found[asked[0]].value == ("Mia", "Ole", "Pia")
        assert found[asked[1]].value == ("mia@example.org", None, "pia@example.org")
        assert found[asked[2]].value == found[asked[1]].value

    def test_units_that_differ(self, reader, file):
        asked = FieldPath(path="/2.1/*/distance", aligned=True)
        found = read(reader, file, asked).values[asked]
        assert [part for _, part in found.parts if part.value] == [
            FieldValue(value=150.0, units="mm"),
            FieldValue(value=2.0, units="m"),
        ]

    def test_attributes_beside_values(self, reader, file):
        asked = FieldPath(path="/2.1/{NXdetector*}/distance@units", aligned=True)
        assert read(reader, file, asked).values[asked].value == ("mm", "m")
        asked = FieldPath(path="/2.1/user_*@NX_class", aligned=True)
        assert read(reader, file, asked).values[asked].value == ("NXuser",) * 3

    def test_no_match_is_no_value(self, reader, file):
        asked = FieldPath(path="/2.1/nobody_*/name", aligned=True)
        assert asked not in read(reader, file, asked).values

    def test_what_can_be_no_value_keeps_its_place(self, reader, file):
        asked = FieldPath(path="/2.1/*", aligned=True)
        found = read(reader, file, asked)
        assert found.values[asked].value.count(None) == 7
        assert "is a group, expected a value" in found.notes[asked]

    def test_several_values_have_no_place(self, reader, tmp_path):
        path = tmp_path / "b.nxs"
        with h5py.File(path, "w") as file:
            file["a_1/x"] = [1, 2]
            file["a_2/x"] = 3
        path.chmod(0o444)
        asked = FieldPath(path="/a_*/x", aligned=True)
        with pytest.raises(Rejection, match=r"/a_1/x holds 2 values, expected one"):
            read(reader, path, asked).values[asked]


class TestEachEntry:
    def test_under_the_names_of_the_entries(self, reader, file):
        content = read(
            reader,
            file,
            FieldPath(path="{entry}/title", each_entry=True),
            FieldPath(path="{entry}/{NXdetector}/distance", each_entry=True),
        )
        assert content.entries == ("2.1", "10.1")
        for entry, title in (("2.1", "second"), ("10.1", "tenth")):
            at = FieldPath(path=f"/{entry}/title", each_entry=True)
            assert content.values[at].value == title
            at = FieldPath(path=f"/{entry}/{{NXdetector}}/distance", each_entry=True)
            with pytest.raises(Rejection, match=f"/{entry} has 2 groups"):
                content.values[at]

    def test_entries_in_other_files(self, reader, file, tmp_path):
        master = tmp_path / "master.nxs"
        with h5py.File(master, "w") as made:
            group(made, "0.1", "NXentry", title="own")
            made["1.1"] = h5py.ExternalLink("a.nxs", "/2.1")
        master.chmod(0o444)
        asked = FieldPath(path="{entry}/title", each_entry=True)
        content = read(reader, master, asked)
        assert content.entries == ("0.1",)
        (note,) = content.notes.values()
        assert "/1.1 is an external link to /2.1 in a.nxs, not followed" in note
        asked = FieldPath(path="{entry}/title", each_entry=True, follow=True)
        content = read(reader, master, asked)
        assert content.entries == ("0.1", "1.1")
        at = FieldPath(path="/1.1/title", each_entry=True, follow=True)
        assert content.values[at].value == "second"
