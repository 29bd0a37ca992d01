"""A wrong configuration is refused with words that help."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from icat_stream.config import ConfigError, load

MINIMAL = """\
facility: EXAMPLE
consumers:
  file_written: {handler: file_written, topics: [filewriter]}
"""


@pytest.fixture
def config(tmp_path: Path):
    def write(text: str = "", **files: str) -> Path:
        for name, content in files.items():
            (tmp_path / name).write_text(content)
        file = tmp_path / "config.yaml"
        file.write_text(MINIMAL + text)
        return file

    return write


def problems(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file)
    return [str(problem) for problem in caught.value.problems]


def test_minimal_configuration_is_enough(config):
    settings = load(config())
    assert settings.consumers["file_written"].lanes == 4
    assert settings.retries.delays == [30, 300, 3600]


def test_relative_paths_are_relative_to_the_file(config, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    settings = load(
        config(
            "schemas: s\nfiles: {roots: [data]}\n"
            "icat: {password_file: secrets/icat, ca_file: ca.pem}\n"
            "kafka: {client: {sasl.password_file: k}}\n"
        )
    )
    assert settings.schemas == tmp_path / "s"
    assert settings.files.roots == [tmp_path / "data"]
    assert settings.icat.password_file == tmp_path / "secrets/icat"
    assert settings.icat.ca_file == tmp_path / "ca.pem"
    assert settings.journal.url == f"sqlite:///{tmp_path}/journal.db"
    assert settings.kafka.client["sasl.password_file"] == f"{tmp_path}/k"


def test_unknown_key_names_line_and_nearest(config):
    found = problems(config("kafka:\n  bootstrap_server: localhost:9092\n"))
    assert len(found) == 1
    assert "config.yaml:5: kafka.bootstrap_server: is no known key" in found[0]
    assert "did you mean bootstrap_servers?" in found[0]


def test_unknown_key_in_a_consumer(config):
    file = config()
    file.write_text(file.read_text().replace("topics:", "lane: 3, topics:"))
    (problem,) = problems(file)
    assert "config.yaml:3: consumers.file_written.lane" in problem
    assert "did you mean lanes?" in problem


def test_all_problems_are_named_at_once(config):
    found = problems(
        config("kafka: {start: yesterday}\nretries: {delays: [30 parsecs]}\n")
    )
    assert any(
        "'earliest', 'latest' or 'error' (found: 'yesterday')" in f for f in found
    )
    assert any("expected a duration" in f and "'30 parsecs'" in f for f in found)


def test_key_given_twice(config):
    (problem,) = problems(config("facility: OTHER\n"))
    assert "config.yaml:4: facility: is given twice, first in line 1" in problem


def test_no_yaml(config):
    (problem,) = problems(config("kafka: [1\n"))
    assert "is no YAML" in problem


@pytest.mark.parametrize(
    "content", ["", "- a\n", "just words\n", "\x00", "facility: [\n"]
)
def test_not_a_configuration(tmp_path, content):
    file = tmp_path / "config.yaml"
    file.write_text(content)
    assert problems(file)


def test_missing_file(tmp_path):
    assert "cannot be read" in problems(tmp_path / "nothing.yaml")[0]


def test_environment_wins_over_the_file(config, monkeypatch):
    monkeypatch.setenv("ICAT_STREAM_KAFKA__GROUP_ID", "from-environment")
    monkeypatch.setenv("ICAT_STREAM_CONSUMERS__FILE_WRITTEN__LANES", "9")
    settings = load(config("kafka: {group_id: from-file, start: latest}\n"))
    assert settings.kafka.group_id == "from-environment"
    assert settings.kafka.start == "latest"
    assert settings.consumers["file_written"].lanes == 9


def test_wrong_value_in_the_environment_names_the_variable(config, monkeypatch):
    monkeypatch.setenv("ICAT_STREAM_KAFKA__START", "yesterday")
    (problem,) = problems(config())
    assert problem.startswith("ICAT_STREAM_KAFKA__START: kafka.start:")


def test_unknown_variable_is_an_error(config, monkeypatch):
    monkeypatch.setenv("ICAT_STREAM_KAFKA__GRUP_ID", "x")
    found = problems(config())
    assert any("did you mean ICAT_STREAM_KAFKA__GROUP_ID?" in f for f in found)


def test_python_icat_configuration_is_the_weakest_source(config, tmp_path, monkeypatch):
    (tmp_path / "icat.cfg").write_text(
        "[ingest]\nurl = https://icat.example.org/ICATService/ICAT?wsdl\n"
        "auth = db\nusername = file\npassword = 50% secret\n"
        "idsurl = https://ids.example.org/ids\n"
    )
    environ = {
        "ICAT_CFG": str(tmp_path / "icat.cfg"),
        "ICAT_CFG_SECTION": "ingest",
        "ICAT_USER": "environment",
    }
    settings = load(config("icat: {auth: simple}\n"), environ)
    assert settings.icat.url == "https://icat.example.org"
    assert settings.icat.auth == "simple"
    assert settings.icat.username == "environment"
    assert settings.icat.secret() == "50% secret"
    assert settings.ids.url == "https://ids.example.org/ids"


def test_secrets_are_not_shown(config, monkeypatch):
    file = config(
        "icat: {password: geheim}\n"
        "kafka: {client: {sasl.password: geheim, ssl.key.pem: geheim}}\n"
    )
    settings = load(file)
    assert "geheim" not in repr(settings)
    assert settings.kafka.client_options()["sasl.password"] == "geheim"
    monkeypatch.setenv("ICAT_STREAM_ICAT__TIMEOUT", "never")
    file.write_text(
        file.read_text().replace("password: geheim}", "password: [geheim]}")
    )
    assert not any("geheim" in problem for problem in problems(file))


def test_secret_from_a_file(config, tmp_path):
    settings = load(config("icat: {password_file: pw}\n", pw="geheim\n"))
    assert settings.icat.secret() == "geheim"


def test_core_options_are_refused(config):
    (problem,) = problems(config("kafka: {client: {enable.auto.commit: true}}\n"))
    assert "enable.auto.commit: the stream core owns" in problem


def test_unknown_location_placeholder(config):
    (problem,) = problems(config("ids: {location: {template: '{realpath}'}}\n"))
    assert "unknown placeholder realpath" in problem


def test_settings_are_frozen(config):
    settings = load(config())
    with pytest.raises(ValueError, match="frozen"):
        settings.facility = "OTHER"
    assert isinstance(load(config("icat: {password: x}\n")).icat.password, SecretStr)


def test_stronger_password_replaces_the_weaker_in_any_form(
    config, tmp_path, monkeypatch
):
    (tmp_path / "icat.cfg").write_text("[ingest]\npassword = weak\n")
    environ = {"ICAT_CFG": str(tmp_path / "icat.cfg"), "ICAT_CFG_SECTION": "ingest"}
    file = config("icat: {password_file: pw}\n", pw="strong")
    assert load(file, environ).icat.secret() == "strong"
    monkeypatch.setenv("ICAT_STREAM_ICAT__PASSWORD", "strongest")
    assert load(file, environ).icat.secret() == "strongest"


def test_two_passwords_in_one_place(config):
    (problem,) = problems(config("icat: {password: a, password_file: b}\n"))
    assert "give password or password_file, not both" in problem


def test_client_options_by_the_environment(config, monkeypatch):
    monkeypatch.setenv("ICAT_STREAM_KAFKA__CLIENT__SASL_USERNAME", "me")
    monkeypatch.setenv("ICAT_STREAM_KAFKA__CLIENT__SASL_PASSWORD", "geheim")
    settings = load(config())
    assert settings.kafka.client_options()["sasl.username"] == "me"
    assert settings.kafka.client_options()["sasl.password"] == "geheim"
    assert "geheim" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("icat: {url: 'http://h:4329x'}\n", "expected a port"),
        ("icat: {url: 'http://me:geheim@h'}\n", "without a user"),
        ("journal: {url: 'mysql://h/d'}\n", "expected sqlite:///FILE"),
        ("journal: {required: false}\n", "required is no setting any more"),
        ("outcomes: {topic: icat-stream.events}\n", "must differ"),
        ("health: {listen: 'h:99999'}\n", "expected host:port"),
        ("health: {listen: '::1:8081'}\n", "in brackets"),
        ("1: x\n", "expected a key that is text"),
        ("files: &f {roots: *f}\n", "nested too deeply"),
    ],
)
def test_what_would_fail_later(config, text, words):
    found = problems(config(text))
    assert any(words in problem for problem in found), found
    assert not any("geheim" in problem for problem in found)


@pytest.mark.parametrize("name", ["journal", "parked"])
def test_a_consumer_is_not_called_as_a_part_of_ours(tmp_path, name):
    file = tmp_path / "config.yaml"
    consumer = f"consumers:\n  {name}: {{handler: users, topics: [users]}}\n"
    file.write_text("facility: EXAMPLE\n" + consumer)
    with pytest.raises(ConfigError, match=f"consumers.{name}: the name is one of ours"):
        load(file, {})


def test_list_in_the_environment_is_json(config, monkeypatch):
    monkeypatch.setenv("ICAT_STREAM_FILES__ROOTS", "/data")
    assert any("expected JSON" in problem for problem in problems(config()))


def test_what_is_indented_wrongly_is_said_with_its_right_place(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(
        "facility: EXAMPLE\n"
        "kafka:\n"
        "group_id: beamlines\n"
        "icat:\n"
        "  url: http://127.0.0.1:8080\n"
        "  journal:\n"
        "    url: sqlite:///journal.db\n"
        "lanes: 3\n"
        "journl: {}\n"
        "consumers:\n"
        "  files: {handler: file_written, topics: [files]}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    said = str(caught.value).replace(f"{file}:", "").splitlines()
    here = "is no known key at this indentation"
    assert said == [
        "2: kafka: expected keys, indented below it (found: nothing)",
        f"3: group_id: {here}; did you mean kafka.group_id?",
        f"6: icat.journal: {here}; did you mean journal?",
        f"8: lanes: {here}; did you mean consumers.NAME.lanes?",
        "9: journl: is no known key; did you mean journal?",
    ]


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        (
            "kafka:\n  start: earliest\n   group_id: x\n",
            3,
            "indented as",
        ),
        (
            "kafka:\n    start: earliest\n  group_id: x\n",
            3,
            "indented as",
        ),
        ("kafka:\n\tgroup_id: x\n", 2, "spaces, not with tabs"),
    ],
)
def test_yaml_that_is_none_for_its_indentation(tmp_path, text, line, hint):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert hint in str(caught.value)


SECRET = "hunter2S3CRET"


@pytest.mark.parametrize(
    "text",
    [
        "icat:\n  passwrod: {}\n",
        "icat:\n  pasword_file: [{}]\n",
        "icat: {}\n",
        "icat: [{}]\n",
        "kafka: {{client: {{ssl.key.password: [{}]}}}}\n",
        "icat:\n  url: http://me:pa/{}@127.0.0.1:8080\n",
        "icat:\n  url: http://127.0.0.1:{}\n",
        "icat:\n  url: http:127.0.0.1/?token={}\n",
        "icat:\n  url: me:{}@127.0.0.1\n",
        "icat:\n  password: &p {}\n  url: *p\n",
        "icat:\n  password: &p {}\n  timeout: *p\nids:\n  mode: *p\n",
        "icat:\n  password: *{}\n",
        "icat:\n  password: !{} x\n",
        "icat:\n  password: !!int {}\n",
        "icat:\n  password: '{}\n",
        "icat:\n  password: @{}\n",
        "icat:\n  password: 'a' {}\n",
        "icat:\n  password: a: {}\n",
        "alerts:\n  webhook: gopher://chat.example/{}\n",
        "alerts:\n  webhook: [{}]\n",
        "journal:\n  url: mysql://me:{}@127.0.0.1/x\n",
        "health:\n  listen: me:{}@127.0.0.1\n",
        "kafka:\n  bootstrap_servers: [sasl://me:a@{}@host]\n",
        "{}: x\n",
        "icat:\n  url: {{a: {}}}\n",
    ],
)
def test_no_mistake_shows_a_secret(tmp_path, text):
    file = tmp_path / "config.yaml"
    file.write_text(text.format(SECRET))
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    said = str(caught.value)
    assert f"{file}" in said
    # A key is shown, as it is what has to be corrected.
    assert text.startswith("{}") or SECRET not in said
