"""What all tests share."""

import os

import pytest
from hypothesis import HealthCheck, settings

from faults.stalling import may_mount

pytest_plugins = [
    "plugins.kafka",
    "plugins.leftovers",
    "plugins.opensearch",
    "plugins.postgres",
]

# How long an example takes, or to think of one, says how busy the machine is; and no
# fixture that an example uses remembers the one before.
settings.register_profile(
    "ours",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("ours")

# Where nobody may mount anything there is no kernel to hang in; the report says so.
collect_ignore = [] if may_mount() else ["faults/test_stalled_mount.py"]


def pytest_report_header() -> list[str]:
    """Say what cannot be tried here."""
    return [f"LEFT OUT, for want of the right to mount: {n}" for n in collect_ignore]


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Keep the pure rooms off the network."""
    pure = ("records", "config", "messages", "schemas", "handlers")
    for item in items:
        room = item.path.relative_to(config.rootpath / "tests").parts[0]
        if room in pure:
            item.add_marker(pytest.mark.disable_socket)
        if "own_broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.alone)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was skipped: in CI, nothing may be."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped and os.environ.get("CI"):
        terminalreporter.write_line("skipped tests are failures in CI", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a CI run that skipped something; the reports of workers come in here."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
