"""Whose bug an unforeseen exception is."""

import importlib.util

from icat_stream.records import bug_reason

HANDLER = """import json

class Handler:
    def plan(self, text):
        return json.loads(text)["proposal"]
"""


def _reason(action) -> str:
    try:
        action()
    except Exception as error:
        return bug_reason(error)
    raise AssertionError("nothing was raised")


def test_of_a_handler_of_their_own(tmp_path):
    file = tmp_path / "slow_control.py"
    file.write_text(HANDLER)
    spec = importlib.util.spec_from_file_location("slow_control", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler = module.Handler()
    whose = f"({file}:5 in Handler.plan: a bug of slow_control.py, not of icat-stream)"
    assert _reason(lambda: handler.plan("{}")) == f"KeyError: 'proposal' {whose}"
    # Raised in a library, by what the handler gave it.
    reason = _reason(lambda: handler.plan("no JSON"))
    assert reason.startswith("JSONDecodeError: ")
    assert reason.endswith(whose)


def test_of_ours():
    from icat_stream.records import suffixed

    reason = _reason(lambda: suffixed("name", ":", [object()]))
    assert "(icat_stream/records/names.py:" in reason
    assert reason.endswith("a bug of icat-stream)")
