"""Run a loop in a process of its own: `runner.py '<json>'`; prints its result."""

import json
import logging
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import scripted

from icat_stream.app.journal_writer import JournalWriter
from icat_stream.config import Settings
from icat_stream.journal import Journal
from icat_stream.stream import Loop, TopicIds


def _trace(file: Path) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

    exporter = ConsoleSpanExporter(
        out=file.open("a", buffering=1),
        formatter=lambda span: span.to_json(indent=None) + "\n",
    )
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def main() -> None:
    options = json.loads(sys.argv[1])
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(threadName)s %(message)s"
    )
    if options["traces"]:
        _trace(Path(options["folder"]) / "spans")
    settings = Settings(**options["settings"])
    journal = Journal(settings.journal)
    writer = JournalWriter(settings, journal, TopicIds(settings.kafka))
    consumer = getattr(scripted, options["consumer"])(Path(options["folder"]))
    loop = Loop("c", consumer, settings, until_end=options["until_end"])
    signal.signal(signal.SIGTERM, lambda *_: loop.stop())
    writer.start()
    result = loop.run()
    writer.stop(10)
    counts = {kind.value: n for kind, n in result.counts.items()}
    print(json.dumps({"reason": result.reason, "counts": counts}), flush=True)
    sys.exit(result.exit_code)


main()
