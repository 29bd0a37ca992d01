"""What the alerter does with a webhook that will not do."""

import time

import pytest

from icat_stream.app.alerts import Alerts
from icat_stream.app.health_report import Problem
from icat_stream.config import AlertSettings


@pytest.mark.parametrize("hook", ["http://me:S3CRET@127.0.0.1/", "http://[::1]:1/S3 C"])
def test_an_url_that_cannot_be_called_is_not_shown(hook, caplog, tmp_path):
    (tmp_path / "hook").write_text(hook)
    settings = AlertSettings(webhook_file=tmp_path / "hook", every=0.1, hold=0)
    problem = Problem(what="disk", text="full", page="disk-full")
    alerter = Alerts(settings, "here", lambda: [problem])
    alerter.start()
    end = time.monotonic() + 60
    while "alerts" not in caplog.text and time.monotonic() < end:
        time.sleep(0.01)
    alerter.stop()
    assert "cannot be delivered to alerts.webhook: InvalidURL" in caplog.text
    assert "S3" not in caplog.text
