"""Peer: Bytewax, Kafka JSON to Parquet, with its own recovery. Ends with the topic.

python bytewax_flow.py BOOTSTRAP TOPIC FOLDER
"""

import json
import sys
import uuid
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
import pyarrow as pa
import pyarrow.parquet as pq
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import cluster_main

BATCH = 100_000
bootstrap, topic, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])


class Files(StatelessSinkPartition):
    """One Parquet file every so many records."""

    def __init__(self) -> None:
        self._rows: list[dict[str, object]] = []

    def write_batch(self, items: list[dict[str, object]]) -> None:
        self._rows += items
        if len(self._rows) >= BATCH:
            self.close()

    def close(self) -> None:
        if self._rows:
            pq.write_table(pa.Table.from_pylist(self._rows), folder / f"{uuid.uuid4()}.parquet")
        self._rows = []


class ParquetSink(DynamicSink):
    """The files of one worker."""

    def build(self, _step_id: str, _index: int, _count: int) -> Files:
        return Files()


state = folder.parent / "bytewax-recovery"
if not state.exists():
    state.mkdir()
    init_db_dir(state, 1)
flow = Dataflow("peer")
records = op.input("kafka", flow, KafkaSource([bootstrap], [topic], tail=False, batch_size=1000))
op.output(
    "files", op.map("decode", records, lambda message: json.loads(message.value)), ParquetSink()
)
cluster_main(
    flow,
    [],
    0,
    epoch_interval=timedelta(seconds=5),
    recovery_config=RecoveryConfig(str(state), backup_interval=timedelta(0)),
)
