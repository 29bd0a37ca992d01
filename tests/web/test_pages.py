"""What is shown of values that others wrote."""

import csv
import io
from types import SimpleNamespace

import pytest
from starlette.datastructures import QueryParams

from icat_stream.web.charts import bars, strip
from icat_stream.web.journal_pages import _shown
from icat_stream.web.lineage_graph import graph
from icat_stream.web.page import as_csv, as_json
from icat_stream.web.page_html import Templates

HOSTILE = "<script>alert(1)</script>\"'&\u202e\x1b[31m"


def test_a_spreadsheet_takes_no_cell_for_a_formula():
    rows = [{"file": '=HYPERLINK("http://evil.example")', "size": -5, "name": "+1"}]
    content = as_csv(rows).body.decode()
    [names, cells] = csv.reader(io.StringIO(content))
    assert names == ["file", "size", "name"]
    assert cells == ['\'=HYPERLINK("http://evil.example")', "-5", "'+1"]


def test_a_large_number_is_shown_as_people_read_it():
    settings = SimpleNamespace(facility="F", web=SimpleNamespace(read_only=True))
    templates = Templates(SimpleNamespace(path="", settings=settings))
    request = SimpleNamespace(
        query_params=QueryParams(""), url=SimpleNamespace(path="/audit")
    )
    act = {"action": "a", "user": "u", "reason": "r", "subject": "s", "result": "r"}
    values = {
        "title": "t",
        "missing": [],
        "is_table": False,
        "acts": [{**act, "records": 1234567, "began_at": 0}],
    }
    page = templates.response(request, "audit.html", values, sign_in=None)
    assert ">1\u202f234\u202f567<" in page.body.decode()


def test_a_lone_surrogate_is_no_reason_to_show_nothing():
    assert as_json({"name": "a\udc80b"}).status_code == 200
    assert as_csv([{"name": "a\udc80b"}]).status_code == 200


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (b"\x1b[31mr\xc3\xa4d\x07", "text"),
        (b"\x00\xff" * 40, "bytes"),
        (b"<b>&" * 4_000_000, "the beginning of a long text"),
        (b"\xff" * 16_000_000, "the beginning of a long text"),
        (b"[" * 100_000, "text"),
        (b'{"a": "\\u202e"}', "JSON"),
    ],
)
def test_whatever_a_message_is_some_of_it_is_shown(value, form):
    shown = _shown(value)
    assert shown["format"] == form
    assert 0 < len(shown["text"]) <= 65_536


def test_charts_take_no_name_for_markup():
    drawn = [
        bars(
            [{"begin": 0, "outcome": "rejected", "rows": 3}],
            since=0,
            width=1000,
            count=4,
            label=HOSTILE,
            link=lambda begin, end, outcome: f"/x?{HOSTILE}",
        ),
        strip(
            [{"at": 5, "outcome": "ingested", "name": HOSTILE, "dataset": 7}],
            begin=0,
            end=10,
            label=HOSTILE,
            link=lambda number: HOSTILE,
        ),
        graph(
            HOSTILE,
            [{"id": 1, "name": HOSTILE}],
            [{"id": 2, "name": HOSTILE}],
            lambda number: HOSTILE,
        ),
    ]
    for each in drawn:
        assert "<script" not in each
        assert "&lt;script" in each


def test_one_failure_among_thousands_is_seen():
    drawn = bars(
        [
            {"begin": 0, "outcome": "ingested", "rows": 100_000},
            {"begin": 0, "outcome": "rejected", "rows": 1},
        ],
        since=0,
        width=1000,
        count=96,
        label="",
        link=lambda *_: "",
    )
    assert 'class="rejected"' in drawn
    assert 'height="3.0"' in drawn
