"""The tutorial does what it says."""

import configparser
import doctest
import re
from pathlib import Path

import icat

from icat_stream.sandbox import reference_data
from icat_stream.sandbox.icat.launch import running

from .places import ACCOUNTS

PAGE = Path(__file__).parents[2] / "docs" / "client.md"


def test_the_tutorial(tmp_path, monkeypatch):
    with running(ACCOUNTS, roots=["simple/root"]) as server:
        client = icat.Client(server.url)
        client.login("simple", {"username": "root", "password": "rootpw"})
        reference_data.load(client, ())
        client.logout()
        parser = configparser.ConfigParser()
        parser["root"] = {
            "url": server.url,
            "auth": "simple",
            "username": "root",
            "password": "rootpw",
        }
        file = tmp_path / "icat.cfg"
        with file.open("w") as out:
            parser.write(out)
        for name in ("ICAT_CFG_SECTION", "ICAT_SERVICE", "ICAT_AUTH", "ICAT_USER"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("ICAT_CFG", str(file))
        # What remains of the fences would be taken for output.
        text = re.sub(r"^```\w*$", "", PAGE.read_text("utf-8"), flags=re.MULTILINE)
        test = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        said: list[str] = []
        runner.run(test, out=said.append, clear_globs=False)
        client.cleanup()
        if "catalogue" in test.globs:
            test.globs["catalogue"].icat.cleanup()
    assert len(test.examples) > 20
    assert runner.summarize(verbose=False).failed == 0, "".join(said)
