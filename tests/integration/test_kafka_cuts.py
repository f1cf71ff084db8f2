"""Connections to a broker that break in the middle of whatever is asked."""

from __future__ import annotations

import contextlib
import random
import threading
from pathlib import Path

import pytest

from tickerlake import clock
from tickerlake.errors import UnreachableError
from tickerlake.streams import StreamsSettings, open_stream
from tickerlake.testing.sample_records import sample_bars
from tickerlake.testing.services.kafka import KafkaCluster
from tickerlake.testing.services.tcp_proxy import TcpProxy


def trouble(proxy: TcpProxy, seed: int, stop: threading.Event) -> None:
    """Resets, and requests and answers that are cut."""
    draw = random.Random(seed)
    while not stop.is_set():
        match draw.choice(["reset", "requests", "answers"]):
            case "reset":
                proxy.reset()
            case "requests":
                proxy.cut("requests", after_bytes=draw.randint(0, 300))
            case _:
                proxy.cut("answers", after_bytes=draw.choice([0, 0, 50, 500]))
        clock.sleep(draw.uniform(0.01, 0.1))


@pytest.mark.slow
def test_an_offset_that_nobody_answered_is_not_taken_for_one(tmp_path: Path) -> None:
    """The client library says -1001 then; a lake that began there could never go on."""
    with KafkaCluster(tmp_path / "kafka", proxied=True) as cluster:
        url = f"kafka://{cluster.bootstrap}/cut"
        stream = open_stream(url, workspace=tmp_path, settings=StreamsSettings(partitions=1))
        topic = stream.topic("bar")
        topic.publish(sample_bars(100))
        (node,) = cluster.nodes
        assert node.proxy is not None
        stop = threading.Event()
        cutting = threading.Thread(target=trouble, args=(node.proxy, 1, stop))
        cutting.start()
        try:
            seen = set()
            for _ in range(600):
                with contextlib.suppress(UnreachableError):
                    bounds = topic.bounds("0")
                    seen.add((bounds.beginning, bounds.end, topic.tip("0")))
        finally:
            stop.set()
            cutting.join()
        assert seen == {(0, 100, 100)}
        stream.close()
