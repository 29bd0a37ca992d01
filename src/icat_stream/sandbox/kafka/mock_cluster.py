"""The process of the embedded broker: librdkafka's mock cluster, until SIGTERM."""

import argparse
import ctypes
import ctypes.util
import glob
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from .errors import BrokerError

# The mock's own 3 s would be most of a demonstration's time.
_REBALANCE_DELAY_MS = 100
_PRODUCER = 0


def _library() -> ctypes.CDLL:
    import confluent_kafka

    package = Path(confluent_kafka.__file__).parent
    bundled = glob.glob(f"{package.parent}/confluent_kafka.libs/librdkafka*.so*")
    bundled += glob.glob(f"{package}/.dylibs/librdkafka*.dylib")
    name = bundled[0] if bundled else ctypes.util.find_library("rdkafka")
    if name is None:
        raise BrokerError("no librdkafka found: install confluent-kafka from a wheel")
    library = ctypes.CDLL(name)
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    library.rd_kafka_conf_new.restype = pointer
    library.rd_kafka_conf_set.argtypes = [pointer, text, text, text, ctypes.c_size_t]
    library.rd_kafka_new.restype = pointer
    library.rd_kafka_new.argtypes = [ctypes.c_int, pointer, text, ctypes.c_size_t]
    library.rd_kafka_mock_cluster_new.restype = pointer
    library.rd_kafka_mock_cluster_new.argtypes = [pointer, ctypes.c_int]
    library.rd_kafka_mock_cluster_bootstraps.restype = text
    library.rd_kafka_mock_cluster_bootstraps.argtypes = [pointer]
    library.rd_kafka_mock_topic_create.argtypes = [
        pointer,
        text,
        ctypes.c_int,
        ctypes.c_int,
    ]
    delay = library.rd_kafka_mock_group_initial_rebalance_delay_ms
    delay.argtypes = [pointer, ctypes.c_int32]
    delay.restype = None
    return library


def _create(library: ctypes.CDLL, topics: Mapping[str, int]) -> str:
    error = ctypes.create_string_buffer(512)
    settings = library.rd_kafka_conf_new()
    # It would warn that it has no brokers to connect to: it is them.
    library.rd_kafka_conf_set(settings, b"log_level", b"0", error, 512)
    handle = library.rd_kafka_new(_PRODUCER, settings, error, 512)
    if not handle:
        raise BrokerError(f"librdkafka: {error.value.decode()}")
    cluster = library.rd_kafka_mock_cluster_new(handle, 1)
    if not cluster:
        raise BrokerError("librdkafka: no mock cluster")
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, _REBALANCE_DELAY_MS)
    for name, partitions in topics.items():
        if library.rd_kafka_mock_topic_create(cluster, name.encode(), partitions, 1):
            raise BrokerError(f"librdkafka: topic {name} could not be created")
    return str(library.rd_kafka_mock_cluster_bootstraps(cluster).decode())


def _topic(text: str) -> tuple[str, int]:
    name, _, partitions = text.partition(":")
    return name, int(partitions or 1)


def main() -> None:
    """Run the broker until SIGTERM, SIGINT or the parent's end."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ready", type=Path, required=True)
    parser.add_argument("--parent", type=int, default=os.getppid())
    parser.add_argument("--topic", type=_topic, action="append", default=[])
    options = parser.parse_args()

    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    bootstrap = _create(_library(), dict(options.topic))
    partial = options.ready.with_suffix(".partial")
    partial.write_text(json.dumps({"kafka": bootstrap, "pid": os.getpid()}))
    partial.rename(options.ready)
    while os.getppid() == options.parent:
        if signal.sigtimedwait(signals, 0.5) is not None:
            break
    # The cluster's own threads need no farewell, and destroying it takes seconds.
    os._exit(0)


if __name__ == "__main__":
    main()
