"""What deploy/ has is what the tools take that read it, and what the daemon exports."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from icat_stream.telemetry import METRICS

DEPLOY = Path(__file__).parents[2] / "deploy"
BIN = Path(sys.executable).parent
UNITS = sorted((DEPLOY / "systemd").iterdir())


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        assert not os.environ.get("CI"), f"{name} is missing"
        pytest.skip(f"{name} is not installed")
    return found


def test_systemd_takes_the_units_and_calls_them_well_protected(tmp_path):
    analyze = tool("systemd-analyze")
    for unit in UNITS:
        # As installed; the program is where this one is.
        text = unit.read_text().replace("/opt/icat-stream/bin", str(BIN))
        (tmp_path / unit.name).write_text(text)
    units = [str(tmp_path / unit.name) for unit in UNITS]
    done = subprocess.run([analyze, "verify", *units], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for unit in units:
        done = subprocess.run(
            [analyze, "security", "--offline=true", "--threshold=20", unit],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-400:]


def test_units_do_not_restart_what_a_person_has_to_look_at():
    for unit in UNITS:
        text = unit.read_text()
        assert "RestartPreventExitStatus=2 3\n" in text
        [stop] = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
        assert int(stop) >= 30


def test_the_dashboard_shows_only_what_the_daemon_exports():
    dashboard = json.loads((DEPLOY / "grafana" / "icat-stream.json").read_text())
    asked = set()
    places = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        places.add((place["x"], place["y"]))
        assert place["x"] + place["w"] <= 24
        for target in panel["targets"]:
            asked |= set(re.findall(r"icat_stream_(\w+)", target["expr"]))
    assert len(places) == len(dashboard["panels"])
    assert asked <= set(METRICS)
    # Nothing that is measured goes unseen but for what the loop's thread does.
    assert set(METRICS) - asked <= {"loop_seconds_total", "partitions"}


def test_the_trial_facility_is_of_one_piece():
    folder = DEPLOY / "compose"
    services = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    assert set(services) == {"facility", "daemon", "prometheus", "grafana"}
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (folder / source).exists(), source
    listen = services["daemon"]["environment"]["ICAT_STREAM_HEALTH__LISTEN"]
    scraped = yaml.safe_load((folder / "prometheus.yaml").read_text())
    assert scraped["scrape_configs"][0]["static_configs"] == [{"targets": [listen]}]
    # The alert that nobody answers asks for the job by its name.
    assert scraped["scrape_configs"][0]["job_name"] == "icat-stream"


def test_the_image_copies_what_there_is_and_runs_as_nobody_special():
    lines = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [line.split() for line in lines if line and not line.startswith("#")]
    copied = [s[1:-1] for s in steps if s[0] == "COPY" and "--from" not in s[1]]
    for names in copied:
        for name in names:
            assert (DEPLOY.parent / name).exists(), name
    last = max(n for n, step in enumerate(steps) if step[0] == "FROM")
    [user] = [step[1] for step in steps[last:] if step[0] == "USER"]
    assert user == "10001:10001"
    # No build tools where it runs.
    assert not any("pip" in word for step in steps[last:] for word in step)
