"""The same JSON records from the same real broker into a lake: ours and four others.

python benchmarks/kafka_side_by_side.py [--quick] [--records N] [--only ours,connect,…]

Each client runs alone, in an environment of its own (installed once, under `.services/peers`), as
a process whose threads and children all count. Records per CPU second, wall time, peak memory,
files; then the same with some SIGKILLs in the middle, and a start after each: what is there twice,
and what not at all.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "peers"))

from _peers import PEERS, Peer  # noqa: E402
from _side_by_side import folder_of, killed, measure  # noqa: E402

from tickerlake.testing.services.kafka import KafkaCluster  # noqa: E402

TOPIC = "bars"
GOAL = 400_000
SYMBOLS = 3_000


class Ours(Peer):
    """`tickerlake deliver` on a workspace that names the broker, and what its records lack."""

    name = "tickerlake deliver, JSON → sorted Iceberg, exactly once"
    ends = True

    def install(self) -> None:
        """It runs in this environment."""

    def prepare(self) -> None:
        (self.folder / "tickerlake.toml").write_text(
            f'stream = "kafka://{self.bootstrap}/market"\n\n'
            f'[streams.bars]\ntopic = "{self.topic}"\n\n'
            "[streams.bars.mapping]\n"
            + "".join(f"{name} = {json.dumps(name)}\n" for name in NAMES)
            + "".join(f'{name} = {{ value = "{value}" }}\n' for name, value in GIVEN.items())
        )

    def command(self) -> Sequence[str]:
        verb = ["deliver", "--once", "--json", "--workspace", str(self.folder)]
        return [sys.executable, "-m", "tickerlake", *verb]

    def _table(self) -> Any:  # noqa: ANN401 - PyIceberg's
        from pyiceberg.catalog.sql import SqlCatalog
        from pyiceberg.exceptions import NoSuchTableError
        from sqlalchemy.exc import OperationalError

        database = self.folder / "catalog.db"
        if not database.exists():
            return None
        catalog = SqlCatalog("tickerlake", uri=f"sqlite:///{database}", init_catalog_tables="false")
        try:
            return catalog.load_table("tickerlake.bars_log")
        except (NoSuchTableError, OperationalError):
            return None

    def rows(self) -> int:
        table = self._table()
        snapshot = table.current_snapshot() if table else None
        return int(snapshot.summary["total-records"]) if snapshot else 0

    def keys(self) -> pa.Table:
        scan = self._table().scan(
            row_filter="dead_reason is null", selected_fields=("symbol", "ts")
        )
        return scan.to_arrow()

    def files(self) -> int:
        return int(self._table().current_snapshot().summary["total-data-files"])


NAMES = ("symbol", "ts", "open", "high", "low", "close", "volume")
GIVEN = {"provider": "bench", "interval": "1m", "state": "final", "currency": "USD"}


def load(cluster: KafkaCluster, records: int) -> None:
    """Put the records on the topic: 134 bytes each, keyed by symbol."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import NewTopic

    from tickerlake.streams.partitioning import partitions_of

    admin = cluster.admin()
    for done in admin.create_topics([NewTopic(TOPIC, 6, 1)]).values():
        done.result()
    names = [f"S{number:04d}" for number in range(SYMBOLS)]
    partitions = partitions_of(pa.array(names), 6).to_pylist()
    producer = Producer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "compression.type": "lz4",
            "linger.ms": 50,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    for number in range(records):
        place, second = number % SYMBOLS, number // SYMBOLS
        time = f"2024-01-02T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"
        value = (
            f'{{"symbol":"{names[place]}","ts":"{time}","open":101.25,"high":102.5,"low":100.75,'
            f'"close":101.5,"volume":{1_000_000 + number}}}'
        )
        while True:
            try:
                producer.produce(TOPIC, value, key=names[place], partition=partitions[place])
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="300,000 records")
    arguments.add_argument("--records", type=int)
    arguments.add_argument("--kill-records", type=int, help="records of the runs with a kill")
    arguments.add_argument("--kills", type=int, default=3)
    arguments.add_argument("--only", default="ours," + ",".join(PEERS))
    given = arguments.parse_args()
    records = given.records or (300_000 if given.quick else 5_000_000)
    kinds: dict[str, type[Peer]] = {"ours": Ours, **PEERS}
    chosen = [name.strip() for name in given.only.split(",")]
    with tempfile.TemporaryDirectory(prefix="side-by-side-") as name:
        base = Path(name)
        for what, count in (
            ("run", records),
            ("kill", given.kill_records or min(records, 1_500_000)),
        ):
            cluster = KafkaCluster(base / f"broker-{what}", heap="1g").start()
            try:
                load(cluster, count)
                for short in chosen:
                    peer = kinds[short](cluster.bootstrap, TOPIC, folder_of(base, short, what))
                    peer.install()
                    found = (
                        measure(peer, count) if what == "run" else killed(peer, count, given.kills)
                    )
                    tell(peer, what, found, ours=short == "ours")
            finally:
                cluster.destroy()


def tell(peer: Peer, what: str, found: dict[str, Any], *, ours: bool) -> None:
    """One JSON line for the table, one line for people."""
    row = {"name": "kafka_side_by_side", "what": f"{peer.name}: {WORDS[what]}", **found}
    if what == "run":
        row["goal"] = GOAL if ours else None
        row["met"] = found["records_per_cpu_second"] >= GOAL if ours else None
        text = (
            f"{found['records_per_cpu_second']:,} records/CPU s, {found['wall_seconds']} s, "
            f"{found['peak_bytes'] >> 20} MiB, {found['files']} files"
        )
    else:
        row["figure"] = text = (
            f"{found['kills']} kills: {found['duplicated']:,} twice, {found['lost']:,} lost"
        )
    print(json.dumps(row), flush=True)
    print(f"{peer.name}, {WORDS[what]}: {text}", file=sys.stderr, flush=True)


WORDS = {"run": "one run", "kill": "killed and started again"}


if __name__ == "__main__":
    main()
