"""The shipped sample is what the models say, and valid as it is."""

from icat_stream.config import load
from icat_stream.config.resources import shipped
from icat_stream.config.sample import render


def test_sample_is_in_step_with_the_models():
    text = shipped("config.sample.yaml").read_text()
    assert text == render(), (
        "run: icat_stream config sample > resources/config.sample.yaml"
    )


def test_sample_is_valid_as_shipped():
    settings = load(shipped("config.sample.yaml"))
    assert settings.consumers["file_written"].handler == "file_written"
    assert settings.schemas == shipped("schemas")
