"""What a process has ready before its first record."""

from pathlib import Path

import pytest

from icat_stream.app import Pipeline
from icat_stream.config import Settings
from icat_stream.records import SystemUnavailable

SCHEMAS = Path(__file__).parents[2] / "resources" / "schemas"


@pytest.mark.parametrize(("handler", "started"), [("file_written", 1), ("users", 0)])
def test_who_takes_no_files_starts_no_process_for_them(
    tmp_path: Path, handler: str, started: int
) -> None:
    settings = Settings.model_validate(
        {
            "facility": "EXAMPLE",
            "kafka": {"bootstrap_servers": "127.0.0.1:1", "group_id": "g"},
            "icat": {"url": "http://127.0.0.1:1", "username": "u", "password": "p"},
            "files": {"roots": [str(tmp_path)]},
            "schemas": str(SCHEMAS),
            "journal": {"url": f"sqlite:///{tmp_path}/journal.db"},
            "consumers": {"a": {"handler": handler, "topics": ["t"]}},
        }
    )
    with Pipeline(settings) as pipeline:
        pipeline.consumers()
        with pytest.raises(SystemUnavailable):
            pipeline.open()
        assert len(pipeline.files.pids) == started
