"""An integration that writes elsewhere, on real Kafka, killed at each of its steps."""

import pytest

from icat_stream.sandbox.announcer import Announcer
from plugins.pages import TOKEN, PageServer, pages_module

from .dataset_messages import create_topic
from .test_checksums import PATIENCE

NAME = "pages"


@pytest.fixture
def server():
    server = PageServer()
    yield server
    server.close()


@pytest.fixture
def pages(facility, tmp_path, server, run):
    """Run the integration of the page, as a package of the facility's own."""
    (tmp_path / "ourfacility").mkdir()
    (tmp_path / "ourfacility" / "pages.py").write_text(pages_module())
    for topic in (NAME, f"{NAME}.events"):
        create_topic(facility.endpoints["kafka"], topic)
    config = facility.variant(
        NAME,
        kafka={"group_id": NAME},
        journal={"url": f"sqlite:///{NAME}.db"},
        events={"topic": f"{NAME}.events"},
        dead_letters={"topic": f"{NAME}.dead"},
        consumers={
            "file_written": {"handler": "file_written", "topics": [NAME]},
            NAME: {
                "integration": "ourfacility.pages:Pages",
                "topics": [f"{NAME}.events"],
                "options": {"url": server.url, "token": TOKEN},
            },
        },
    )

    def pages(*arguments, consumer=NAME, code=0, command="icat_ingestor", **extra):
        given = ("-c", config, *arguments)
        if command == "icat_ingestor":
            given += ("--consumer", consumer, "--until-end", "--output", "json")
        done = run(command, *given, timeout=PATIENCE, PYTHONPATH=str(tmp_path), **extra)
        assert done.code == code, done.err
        return done

    return pages


def test_documents_are_written_once_whatever_dies(facility, server, pages):
    files = [facility.write() for _ in range(4)]
    announcer = Announcer(facility.endpoints["kafka"], NAME)
    for file in files:
        announcer.announce(file)
    announcer.flush()
    pages(consumer="file_written")
    names = sorted(facility.datasets(file)[0].name for file in files)

    assert "valid" in pages(command="icat_validate_config").out
    *lines, _ = pages("--dry-run").lines
    shown = [line["documents"][0]["content"]["name"] for line in lines]
    assert sorted(shown) == names
    assert server.calls == []

    for step in ("export-begun", "export-applied", "handled"):
        pages(code=-9, ICAT_STREAM_FAULT=step)
    summary = pages().lines[-1]
    assert summary["rejected"] == 0
    assert sorted(each["name"] for each in server.documents.values()) == names
    calls = len(server.calls)
    # The same files again: their events say that nothing has changed.
    for file in files:
        announcer.announce(file)
    announcer.flush()
    pages(consumer="file_written")
    assert pages().lines[-1]["unchanged"] == 4
    assert len(server.calls) == calls
    assert TOKEN not in pages("--dry-run").out
