"""Metrics as Prometheus and a collector get them, and the rules on them."""

import json
import logging
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from icat_stream.stream.status import TimeAccount
from icat_stream.telemetry import METRICS, configure_logging, render, sample
from icat_stream.telemetry.metrics import PREFIX

ROOT = Path(__file__).parents[2]
RULES = ROOT / "resources/prometheus-rules.yaml"


def rules():
    content = yaml.safe_load(RULES.read_text())
    return [rule for group in content["groups"] for rule in group["rules"]]


def test_text_format():
    text = render(
        [
            sample("lanes", 4, consumer="b"),
            sample("healthy", True),
            sample("lanes", 2, consumer='a "quoted\\\n'),
        ]
    )
    lines = text.splitlines()
    assert "icat_stream_healthy 1" in lines
    assert 'icat_stream_lanes{consumer="b"} 4' in lines
    assert 'icat_stream_lanes{consumer="a \\"quoted\\\\\\n"} 2' in lines
    assert lines.count("# TYPE icat_stream_lanes gauge") == 1


def test_rules_ask_for_metrics_that_are_there():
    assert rules()
    for rule in rules():
        names = re.findall(rf"{PREFIX}\w+", rule["expr"])
        assert {name.removeprefix(PREFIX) for name in names} <= set(METRICS)
        assert names or rule["expr"].startswith("up{")
        assert rule["annotations"]["summary"]


def test_each_rule_names_a_page_that_is_there():
    for rule in rules():
        assert (ROOT / "docs" / f"{rule['annotations']['page']}.md").is_file()


def test_parts_of_the_time_add_up():
    account = TimeAccount("idle", "work")
    total = sum(account.seconds().values())
    account.switch("work")
    account.switch("idle")
    later = account.seconds()
    assert set(later) == {"idle", "work"}
    assert sum(later.values()) >= total
    # Nothing is counted twice, and nothing is left out.
    account.switch("work")
    before = sum(account.seconds().values())
    account.switch("idle")
    assert sum(account.seconds().values()) >= before


def test_log_lines_as_json(tmp_path):
    log = tmp_path / "log"
    root = logging.getLogger()
    old = root.handlers[:], root.level
    configure_logging("info", log, as_json=True)
    try:
        try:
            raise ValueError("why")
        except ValueError:
            logging.getLogger("icat_stream.test").exception("it\nhappened: %s", "x")
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:], root.level = old
        logging.getLogger("icat_stream").setLevel(logging.NOTSET)
    (line,) = log.read_text().splitlines()
    found = json.loads(line)
    assert found["message"] == "it\nhappened: x"
    assert found["level"] == "error"
    assert found["record"] == found["trace_id"] == "-"
    assert "ValueError: why" in found["exception"]


def promtool(*arguments):
    tool = shutil.which("promtool")
    if tool is None:
        assert not os.environ.get("CI"), "promtool is missing"
        pytest.skip("promtool (of Debian's package prometheus) is not installed")
    done = subprocess.run([tool, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules():
    assert f"{len(rules())} rules found" in promtool("check", "rules", RULES)


def test_prometheus_alerts_when_it_should():
    promtool("test", "rules", Path(__file__).with_name("prometheus-rules.test.yaml"))
