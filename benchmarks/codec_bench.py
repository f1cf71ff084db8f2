"""From a broker's JSON to sorted Parquet, stage by stage, without a broker.

python benchmarks/codec_bench.py [--quick] [--records N]

Records of a foreign producer (127 bytes: symbol, ts, open, high, low, close, volume) in messages as
the Kafka stream makes them, mapped to bars; then our own records as Arrow messages of 1,000. Each
stage is measured by itself: parse, judge (value rules and event ids), window (repeats), write
(sorted, committed). Beside them, on the same lines: `json.loads`, and DuckDB's `read_json`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from tickerlake.delivery.buffer import stamped
from tickerlake.lake.registry import open_lake
from tickerlake.records import RepeatWindow
from tickerlake.streams import Message, Places, StreamsSettings
from tickerlake.streams.codec import decode, encode_slices
from tickerlake.streams.codec_arrow import decode_arrow
from tickerlake.streams.codec_json import decode_json
from tickerlake.streams.fields import Layout, plain_layout
from tickerlake.streams.form import form_of
from tickerlake.streams.settings import TopicSettings
from tickerlake.testing.sample_records import sample_bars

#: What `consume(500)` costs a record of this size, whoever reads it: measured through librdkafka.
CONSUME_MICROSECONDS = 0.76
GOAL_JSON, GOAL_ARROW = 400_000, 1_000_000
BLOCK, BATCH, READ = 500, 1_000, 131_000
SYMBOLS = [f"S{number:04d}" for number in range(3_000)]
MAPPING = {name: name for name in ("symbol", "ts", "open", "high", "low", "close", "volume")} | {
    "provider": {"value": "feed"},
    "interval": {"value": "1m"},
    "currency": {"value": "USD"},
}
NOW = datetime(2024, 6, 1, tzinfo=UTC)


def foreign_lines(first: int, count: int) -> list[bytes]:
    close = np.random.default_rng(first).uniform(10, 500, count).round(2).tolist()
    start = datetime(2024, 5, 6, 13, 30, tzinfo=UTC)
    lines = []
    for number, price in enumerate(close, first):
        ts = (start + timedelta(minutes=number // len(SYMBOLS))).strftime("%Y-%m-%dT%H:%M:%S")
        lines.append(
            f'{{"symbol":"{SYMBOLS[number % len(SYMBOLS)]}","ts":"{ts}.000000Z","open":{price!r},'
            f'"high":{price + 1:.2f},"low":{price - 1:.2f},"close":{price + 0.5:.2f},'
            f'"volume":{number * 7919 % 1_000_000}.0}}'.encode()
        )
    return lines


def json_messages(first: int, count: int) -> list[Message]:
    settings = StreamsSettings(bars=TopicSettings(mapping=MAPPING))
    form = form_of(settings, "bar")
    lines = foreign_lines(first, count)
    found = []
    for start in range(0, count, BLOCK):
        block = lines[start : start + BLOCK]
        places = Places(np.arange(first + start, first + start + len(block)))
        message = Message(
            "0", first + start, len(block), "json", b"\n".join(block), False, NOW, places,
            times=np.full(len(block), 1_717_200_000_000_000), form=form,
        )  # fmt: skip
        found.append(message)
    return found


def arrow_messages(first: int, count: int) -> list[Message]:
    bars = sample_bars(count, symbols=SYMBOLS, first=first, first_day=date(2020, 1, 1))
    bounds = [(start, min(BATCH, count - start)) for start in range(0, count, BATCH)]
    payloads = encode_slices(bars, "bar", "arrow", bounds)
    return [
        Message("0", first // BATCH + number, length, "arrow", payload, False, NOW)
        for number, ((_, length), payload) in enumerate(zip(bounds, payloads, strict=True))
    ]


class Stages:
    """CPU seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - began


def run(records: int, make: Callable[[int, int], list[Message]], folder: Path) -> Stages:
    """Deliver `records` in reads of a worker's size; what is parsed alone is parsed twice."""
    stages = Stages()
    table = open_lake("./lake", "sqlite:", workspace=folder).table("bars_log")
    window = RepeatWindow("bar", 100_000)
    waiting: list[pa.Table] = []
    decode("bar", make(0, BATCH))  # what is loaded once is not counted
    for first in range(0, records, READ):
        messages = make(first, min(READ, records - first))
        with stages.stage("parse"):
            parsed(messages)
        with stages.stage("decode"):
            rows = decode("bar", messages)
        if rows["dead_reason"].null_count < rows.num_rows:
            raise SystemExit(rows["dead_reason"].drop_null()[0].as_py())
        with stages.stage("window"):
            window.admit(rows)
        waiting.append(rows)
        if len(waiting) == 3 or first + READ >= records:
            with stages.stage("write"):
                table.write(stamped(pa.concat_tables(waiting), "0" * 16))
            waiting.clear()
    stages.seconds["judge"] = stages.seconds["decode"] - stages.seconds["parse"]
    return stages


def parsed(messages: Sequence[Message]) -> None:
    form = messages[0].form
    layout: Layout = plain_layout("bar") if form is None else form.layout
    (decode_json if messages[0].wire == "json" else decode_arrow)(layout, messages)


def peers(folder: Path) -> str:
    import duckdb

    lines = foreign_lines(0, 100_000)
    began = time.process_time()
    for line in lines:
        json.loads(line)
    plain = time.process_time() - began
    path = folder / "lines.json"
    path.write_bytes(b"\n".join(lines))
    connection = duckdb.connect(config={"threads": 1})
    began = time.process_time()
    connection.sql(
        f"select * from read_json('{path}', format='newline_delimited')"
    ).to_arrow_table()
    raw = time.process_time() - began
    each = 1e6 / len(lines)
    return f"json.loads {plain * each:.2f} µs, DuckDB read_json {raw * each:.2f} µs"


def row(
    what: str, stages: Stages, records: int, *, consume: float, goal: int, peer: str = ""
) -> None:
    cost = {name: seconds / records * 1e6 for name, seconds in stages.seconds.items()}
    own = cost["decode"] + cost["window"] + cost["write"]
    rate = 1e6 / (own + consume)
    parts = ", ".join(f"{name} {cost[name]:.2f}" for name in ("parse", "judge", "window", "write"))
    if consume:
        parts = f"consume {consume:.2f} (measured apart), {parts}"
    found = {
        "name": "codec_bench",
        "what": f"{what} ({parts} µs)",
        "figure": f"{rate:,.0f} records per CPU second",
        "records": records,
        "records_per_cpu_second": round(rate),
        "microseconds": {name: round(value, 3) for name, value in cost.items()},
        "peer": peer or None,
        "goal": f"≥ {goal:,}",
        "met": rate >= goal,
    }
    print(json.dumps(found, ensure_ascii=False), flush=True)
    print(f"{found['what']}: {found['figure']}; {peer}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="400,000 records")
    parser.add_argument("--records", type=int, default=5_000_000)
    options = parser.parse_args()
    records = 400_000 if options.quick else options.records
    # On the disk that the checkout lies on: a temporary folder may be memory, and fsync free.
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as name:
        beside = peers(Path(name))
        lines = run(records, json_messages, Path(name) / "json")
        row(
            "JSON lines of 127 bytes, mapped → sorted Parquet",
            lines,
            records,
            consume=CONSUME_MICROSECONDS,
            goal=GOAL_JSON,
            peer=beside,
        )
        batches = run(records, arrow_messages, Path(name) / "arrow")
        row(
            "Arrow messages of 1,000 → sorted Parquet",
            batches,
            records,
            consume=0.0,
            goal=GOAL_ARROW,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
