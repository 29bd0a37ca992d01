"""The search index of a configuration: to be searched, and to be made anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from icat_stream.config import ConfigError, Problem, Settings

from .pipeline import Pipeline

if TYPE_CHECKING:
    from icat_stream.integrations import ExportConsumer, Progress, SearchIndex

_INTEGRATION = "search_index"


@contextmanager
def search_index(
    settings: Settings, consumer: str | None = None
) -> "Iterator[SearchIndex]":
    """Give the index of a consumer, to be searched.

    Parameters
    ----------
    settings
        The configuration.
    consumer
        Its name; ``None``: that of the only one.

    Raises
    ------
    ConfigError
        There is none, or there are several, or its options are wrong.
    """
    name = _consumer(settings, consumer)
    with Pipeline(settings, dry_run=True) as pipeline:
        yield _index(pipeline, name)


def reindex(
    settings: Settings, consumer: str, progress: "Progress"
) -> tuple[str, list[str]]:
    """Make an index anew from the catalogue, while it is in use.

    Parameters
    ----------
    settings
        The configuration.
    consumer
        Whose index.
    progress
        Called now and then.

    Returns
    -------
    name
        Of the new index.
    refused
        Why documents are not in it.
    """
    from icat_stream.integrations import IndexRebuild

    name = _consumer(settings, consumer)
    with Pipeline(settings) as pipeline:
        index = _index(pipeline, name)
        pipeline.open()
        session = pipeline.catalogue.session()
        try:
            made = IndexRebuild(index, session, pipeline.journal.exports, progress)
            return made.run(), made.refused
        finally:
            pipeline.catalogue.leave()


def _index(pipeline: Pipeline, name: str) -> "SearchIndex":
    (made,) = pipeline.consumers([name])
    consumer = cast("ExportConsumer", made.consumer)
    return cast("SearchIndex", consumer.integration)


def _consumer(settings: Settings, asked: str | None) -> str:
    known = [
        name
        for name, each in settings.consumers.items()
        if each.integration == _INTEGRATION
    ]
    if asked in known:
        return str(asked)
    if asked is None and len(known) == 1:
        return known[0]
    what = f"no consumer {asked!r}" if asked else f"{len(known)} consumers"
    raise ConfigError(
        [
            Problem(
                source="configuration",
                field="consumers",
                expected=f"{what} of the integration {_INTEGRATION}; there are:"
                f" {', '.join(known) or 'none'}",
            )
        ]
    )
