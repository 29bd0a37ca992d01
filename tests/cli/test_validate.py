"""``icat_validate_config`` says what is wrong, where, and what was probably meant."""

from .dataset_messages import create_topic


def test_valid(facility, run):
    done = run("icat_validate_config", facility.config)
    assert done.code == 0
    assert f"{facility.config}: valid" in done.out
    assert run("icat_validate_config", "-c", facility.config).code == 0


def test_connect(facility, run):
    done = run("icat_validate_config", facility.config, "--connect")
    assert done.code == 0, done.out
    for system in ("kafka", "icat", "ids", "files"):
        assert f"{system}: reached" in done.out
    # The account is one of ICAT's root users.
    assert "icat: consumer" not in done.out
    # Whether it is there depends on what ran before.
    assert "journal: reached" in done.out or "journal: will be made" in done.out


def test_a_download_is_tried(facility, run):
    announced = facility.write()
    done = run(
        *("icat_background_ingestor", "-c", facility.config),
        *("--file", announced.path, "--no-event"),
    )
    assert done.code == 0, done.err
    done = run("icat_validate_config", facility.config, "--download")
    assert done.code == 0, done.out
    assert "download: datafile " in done.out
    assert "download: tried" in done.out
    announced.path.unlink()
    done = run("icat_validate_config", facility.config, "--download")
    assert done.code == 5
    assert "the data service refused a download of datafile" in done.out


def test_a_key_that_is_none(facility, run, tmp_path):
    key = tmp_path / "key"
    config = facility.variant("unsigned", ids={"key_file": str(key)})
    done = run("icat_validate_config", config)
    assert done.code == 0
    assert f"note: ids.key_file: {key} is not there (yet)" in done.out
    done = run("icat_validate_config", config, "--connect")
    assert done.code == 2
    assert "ids.key_file: cannot be read: No such file" in done.err
    key.write_text("\n")
    done = run("icat_validate_config", config, "--connect")
    assert (done.code, "ids.key_file: is empty" in done.err) == (2, True)


def test_connect_to_what_is_down(facility, run):
    config = facility.variant("unreachable", icat={"url": "http://127.0.0.1:9"})
    done = run("icat_validate_config", config, "--connect")
    assert done.code == 5
    assert "kafka: reached" in done.out
    assert "icat: reached" not in done.out


def test_topics_that_do_not_fit_are_named(facility, run, topic_prefix):
    bootstrap = facility.endpoints["kafka"]
    for name, partitions in (("", 3), (".c.retry.0", 2), (".c.parked", 3)):
        create_topic(bootstrap, topic_prefix + name, partitions=partitions)
    config = facility.variant(
        topic_prefix,
        kafka={"group_id": topic_prefix},
        consumers={"c": {"handler": "datasets", "topics": [topic_prefix]}},
    )
    done = run("icat_validate_config", config, "--connect")
    assert done.code == 0, done.out
    parked, retry = f"{topic_prefix}.c.parked", f"{topic_prefix}.c.retry.0"
    assert f"kafka: topic {parked} should have cleanup.policy=compact" in done.out
    assert f"kafka: {retry} have fewer than the 3 partitions" in done.out


def test_stubs_need_a_type_that_is_there(facility, run):
    stubs = {"missing_investigations": "stub"}
    config = facility.variant("stub-untyped", policies=stubs)
    done = run("icat_validate_config", config)
    assert done.code == 2
    assert "stubs.type: is required with missing_investigations: stub" in done.err
    config = facility.variant(
        "stub-mistyped", policies=stubs | {"stubs": {"type": "experimnt"}}
    )
    assert run("icat_validate_config", config).code == 0
    done = run("icat_validate_config", config, "--connect")
    assert done.code == 2
    assert "policies.stubs.type: is no InvestigationType" in done.out
    assert "'experimnt'" in done.out


def test_mistakes(facility, run):
    config = facility.variant("mistaken", files={"setle": "1s"})
    done = run("icat_validate_config", config)
    assert done.code == 2
    assert "files.setle: is no known key" in done.err
    assert "did you mean settle?" in done.err


def test_unknown_handler(facility, run):
    config = facility.variant(
        "unknown-handler", consumers={"x": {"handler": "fil_written", "topics": ["t"]}}
    )
    done = run("icat_validate_config", config)
    assert done.code == 2
    assert "no handler 'fil_written': known are " in done.err
    assert "file_written" in done.err


def test_all_mistakes_at_once_also_those_of_schemas(facility, run, tmp_path):
    (tmp_path / "mine.yaml").write_text("id: mine\nselector: {always: tru}\n")
    config = facility.variant(
        "twice-mistaken", files={"setle": "1s"}, schemas=str(tmp_path)
    )
    done = run("icat_validate_config", config)
    assert done.code == 2
    assert "files.setle: is no known key" in done.err
    assert f"{tmp_path}/mine.yaml:2: selector" in done.err


def test_files_of_secrets_and_disabled_consumers_are_noted(facility, run, tmp_path):
    consumers = {
        "on": {"handler": "file_written", "topics": ["a"]},
        "off": {"handler": "file_written", "topics": ["b"], "enabled": False},
    }
    config = facility.variant("noted", consumers=consumers)
    secret = tmp_path / "secret"
    variable = {"ICAT_STREAM_ICAT__PASSWORD_FILE": str(secret)}
    for content, mode, note in (
        (None, 0o600, "is not there (yet)"),
        (b" \n", 0o600, "is empty"),
        (b"hunter2", 0o644, "can be read by everybody on this machine: chmod 600"),
        (b"hunter2\nhunter3\n", 0o600, "has more than one line"),
        (b"\xff\xfe", 0o600, "cannot be read: is not UTF-8"),
    ):
        if content is not None:
            secret.write_bytes(content)
            secret.chmod(mode)
        done = run("icat_validate_config", config, **variable)
        assert done.code == 0
        assert f"note: icat.password_file: {secret} {note}" in done.out
        assert "hunter" not in done.out + done.err
    secret.write_bytes(b"hunter2\n")
    secret.chmod(0o600)
    done = run("icat_validate_config", config, **variable)
    assert "password_file" not in done.out
    assert "consumers: on (disabled: off)" in done.out


def test_a_login_whose_password_is_in_a_file_is_valid(facility, run):
    client = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "icat-stream",
        "sasl.password_file": "/nowhere/kafka",
    }
    done = run(
        "icat_validate_config", facility.variant("sasl", kafka={"client": client})
    )
    assert done.code == 0, done.err
    assert "note: kafka.client.sasl.password_file: /nowhere/kafka is not" in done.out


def test_mistake_in_a_schema(facility, run, tmp_path):
    (tmp_path / "mine.yaml").write_text("id: mine\nselector: {always: tru}\n")
    config = facility.variant("bad-schema", schemas=str(tmp_path))
    done = run("icat_validate_config", config)
    assert done.code == 2
    assert f"{tmp_path}/mine.yaml:2: selector" in done.err


def test_no_argument(run):
    assert run("icat_validate_config").code == 2


def test_help_of_every_command(run):
    for name in (
        "icat_ingestor",
        "icat_background_ingestor",
        "icat_validate_config",
        "icat_stream",
    ):
        done = run(name, "--help")
        assert done.code == 0
        assert "Usage" in done.out


def test_sample_can_be_printed(run):
    done = run("icat_stream", "config", "sample")
    assert done.out.startswith("# The configuration of icat-stream")
