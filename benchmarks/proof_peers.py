"""What others lose and double under the kills of `tickerlake prove`, counted by the same rule.

python benchmarks/proof_peers.py [--runs N] [--only naive-after,naive-before,connect] [--out FILE]

Two kills: SIGKILL at a moment that nobody chose, three times a run; and SIGSTOP beyond the session
time-out while another takes over, then SIGCONT. One JSON object a run; those in FILE stand already.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "peers"))

from _peers import ConnectIceberg, Peer  # noqa: E402
from _side_by_side import Client, judged  # noqa: E402

from tickerlake.testing.services.kafka import KafkaCluster  # noqa: E402

#: So many that three kills find some that are not in the table yet: Connect commits every 10 s.
RECORDS = {"naive-after": 20_000, "naive-before": 20_000, "connect": 3_000_000}
KILLS = 3


class Naive(Peer):
    """`naive.py`, in this environment."""

    commits: str

    def install(self) -> None:
        """It has all it needs."""

    def _catalog(self) -> Any:  # noqa: ANN401 - PyIceberg's
        from pyiceberg.catalog.sql import SqlCatalog

        place = {"uri": f"sqlite:///{self.folder}/cat.db", "warehouse": f"file://{self.folder}/wh"}
        return SqlCatalog("naive", **place)

    def prepare(self) -> None:
        catalog = self._catalog()
        catalog.create_namespace("db")
        fields = [("symbol", pa.string()), ("ts", pa.string()), ("volume", pa.float64())]
        catalog.create_table("db.bars", pa.schema(fields))

    def command(self) -> Sequence[str]:
        script = str(HERE / "peers" / "naive.py")
        where = [self.bootstrap, self.topic, str(self.folder)]
        return [sys.executable, "-W", "ignore", script, *where, self.commits]

    def rows(self) -> int:
        snapshot = self._catalog().load_table("db.bars").current_snapshot()
        return int(snapshot.summary["total-records"]) if snapshot else 0

    def keys(self) -> pa.Table:
        return (
            self._catalog().load_table("db.bars").scan(selected_fields=("symbol", "ts")).to_arrow()
        )

    def files(self) -> int:
        return 0


class After(Naive):
    name = "naive consumer, offsets committed after the write"
    commits = "after"


class Before(Naive):
    name = "naive consumer, offsets committed before the write"
    commits = "before"


class Connect(ConnectIceberg):
    name = "Kafka Connect 4.3.1, Iceberg sink 1.12.0"


PEERS: dict[str, type[Peer]] = {"naive-after": After, "naive-before": Before, "connect": Connect}


def load(cluster: KafkaCluster, topic: str, records: int) -> None:
    from confluent_kafka import Producer

    cluster.create_topic(topic, partitions=6)
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 20})
    began = datetime(2024, 1, 2, tzinfo=UTC)
    ts = ""
    for number in range(records):
        if number % 10 == 0:
            ts = f"{began + timedelta(seconds=number // 10):%Y-%m-%dT%H:%M:%SZ}"
        row = {"symbol": f"S{number % 10}", "ts": ts, "open": 1.0, "high": 1.0, "low": 1.0}
        value = json.dumps({**row, "close": 1.0, "volume": float(number)})
        while True:
            try:
                producer.produce(topic, value, key=row["symbol"], partition=number % 6)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 1000 == 0:
            producer.poll(0)
    producer.flush()


def killed(peer: Peer, records: int, drawn: random.Random) -> int:
    """SIGKILL at moments that nobody chose, always with records that are not in the table yet."""
    struck = 0
    while struck < KILLS:
        before = peer.rows()
        client = Client(peer)
        client.until(lambda rows: rows > before)  # noqa: B023 - used within the turn
        time.sleep(drawn.uniform(0.0, 1.0))
        client.kill()
        if peer.rows() >= records:
            break
        struck += 1
    return struck


def paused(peer: Peer, records: int, drawn: random.Random) -> int:
    """It stands still beyond its session; another takes over and goes on; then it wakes."""
    client = Client(peer)
    client.until(lambda rows: rows > 0)
    time.sleep(drawn.uniform(0.0, 0.3))
    client.process.send_signal(signal.SIGSTOP)
    struck = int(peer.rows() < records)
    rival = Client(peer)
    seen = peer.rows()
    rival.until(lambda rows: rows > seen)
    client.process.send_signal(signal.SIGCONT)
    time.sleep(2.0)
    client.kill()
    rival.kill()
    return struck


def finish(peer: Peer, records: int) -> dict[str, int]:
    """One that nobody disturbs, until nothing moves any more; then count."""
    last = Client(peer)
    last.until(lambda rows: rows >= records)
    time.sleep(2.0)
    rows, still = -1, peer.rows()
    while rows != still:
        rows, still = still, (time.sleep(3.0), peer.rows())[1]
    last.kill()
    return judged(peer.keys(), records)


FAULTS = {"worker-killed-at-random": killed, "worker-paused": paused}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--only", default="naive-after,naive-before,connect")
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "proof-peers.jsonl")
    given = parser.parse_args()
    lines = given.out.read_text().splitlines() if given.out.exists() else []
    done = Counter((row["peer"], row["fault"]) for row in map(json.loads, lines))
    with (
        tempfile.TemporaryDirectory(prefix="proof-peers-") as name,
        KafkaCluster(Path(name) / "kafka") as cluster,
    ):
        for short in given.only.split(","):
            for fault, strike in FAULTS.items():
                kind = PEERS[short]
                for seed in range(done[kind.name, fault] + 1, given.runs + 1):
                    topic = f"{short}-{fault}-{seed}"
                    load(cluster, topic, RECORDS[short])
                    peer = kind(cluster.bootstrap, topic, Path(name) / topic)
                    peer.install()
                    peer.prepare()
                    struck = strike(peer, RECORDS[short], random.Random(seed))
                    row = {"peer": kind.name, "fault": fault, "seed": seed, "struck": struck}
                    row |= {"records": RECORDS[short], **finish(peer, RECORDS[short])}
                    with given.out.open("a") as out:
                        out.write(json.dumps(row) + "\n")
                    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
