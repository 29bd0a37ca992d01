"""Reasons that differ only in what is one record's are of one kind."""

import pytest

from icat_stream.journal import reason_kind


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("/data/240815/run_1.nxs: missing", "/…: missing"),
        ("bytes are b'o\\'e/', expected b'wrdn'", "bytes are '…', expected '…'"),
        ("user 'Anna Muster' is not known", "user '…' is not known"),
        ("instrument 'BOREAS' is not in 'x'", "instrument 'BOREAS' is not in '…'"),
        ("temperature: 4.2e-3 K is above 1e300", "temperature: … K is above …"),
        ("run_7.nxs is no file", "… is no file"),
        ("", ""),
    ],
)
def test_a_kind(reason, kind):
    assert reason_kind(reason) == kind
