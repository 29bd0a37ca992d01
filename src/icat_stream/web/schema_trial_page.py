"""What a file would become with the metadata schemas that are in use."""

import threading
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from icat_stream.config import ConfigError
from icat_stream.nexus import Limits, NexusReader
from icat_stream.records import Failure
from icat_stream.schemas import load_schemas

from .page import Page, PageRequest, Unfit

# A file takes a child process and its memory.
_one_at_a_time = threading.Lock()


def schema_trial(asked: PageRequest) -> Page:
    """Return the datasets that a file becomes, or why it becomes none.

    Nothing is written, and ICAT is not asked.
    """
    file = asked.query("file", 4096)
    drafts: list[dict[str, Any]] = []
    refusal = ""
    if file:
        try:
            drafts = _drafts(asked, file)
        except Failure as failure:
            refusal = str(failure)
        except ConfigError as error:
            raise Unfit(f"The metadata schemas cannot be used: {error}") from None
    values = {
        "file": file,
        "drafts": drafts,
        "refusal": refusal,
        "roots": [str(each) for each in asked.site.settings.files.roots],
    }
    return Page(template="schema_trial.html", title="Try a schema", values=values)


def _drafts(asked: PageRequest, file: str) -> list[dict[str, Any]]:
    settings = asked.site.settings
    if settings.schemas is None:
        raise Unfit("No metadata schemas are in use: schemas names no folder.")
    schemas = load_schemas(settings.schemas)
    if not _one_at_a_time.acquire(timeout=30):
        raise Unfit("Somebody else tries a file at this moment: try again.")
    try:
        # Only below the roots, whatever links there are.
        with NexusReader(
            settings.files.roots,
            path_map=settings.files.path_map,
            workers=1,
            max_stuck=1,
            settle=0.0,
            limits=Limits(
                memory=settings.files.memory, array_bytes=settings.files.max_array
            ),
        ) as reader:
            content = reader.read(file, schemas.paths(file, None))
    finally:
        _one_at_a_time.release()
    schema = schemas.choose(file, None, content)
    found = schema.drafts(None, content, record_time=datetime.now(UTC))
    return [
        {name: value for name, value in asdict(draft).items() if name != "sources"}
        for draft in found
    ]
