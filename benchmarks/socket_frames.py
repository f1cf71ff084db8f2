"""From the frames of a provider's socket to Arrow batches, and to event ids, as `publish --live`.

python benchmarks/socket_frames.py [--quick]

Frames of one trade each, all different, read 2,000 at a time by each provider's dialect; Finnhub's
also with eight trades a frame, as its busy symbols come. Beside them, in the same run: `json.loads`
of each frame, which is what a client does before it has done anything.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from tickerlake.publish import with_lasting_ids
from tickerlake.sources import Dialect, Frame, open_source
from tickerlake.sources.registry import settings_type

GOAL = 200_000
BATCH = 2_000
START_MS = 1_704_207_600_000
START = datetime.fromtimestamp(START_MS / 1000, UTC)


@dataclass(frozen=True, slots=True)
class Talk:
    """How a provider's trades look, and what it says before the first of them."""

    source: str
    symbol: str
    trade: Callable[[int], Any]
    before: Sequence[Any] = ()
    note: str = "one trade a frame"
    settings: Mapping[str, Any] = field(default_factory=dict)


def price(n: int) -> float:
    return 100 + n * 7919 % 10_000 / 100


def stamp(n: int) -> str:
    at = START + timedelta(microseconds=n * 137)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def finnhub(n: int) -> dict[str, Any]:
    return {"c": ["1", "12"], "p": price(n), "s": "ACME", "t": START_MS + n // 4, "v": n % 500 + 1}


TALKS = (
    Talk("finnhub", "ACME", lambda n: {"data": [finnhub(n)], "type": "trade"}),
    Talk(
        "finnhub",
        "ACME",
        lambda n: {"data": [finnhub(8 * n + k) for k in range(8)], "type": "trade"},
        note="eight trades a frame",
    ),
    Talk(
        "alpaca",
        "ACME",
        lambda n: [
            {"T": "t", "S": "ACME", "i": n, "x": "V", "p": price(n), "s": 5, "c": ["@", "I"],
             "z": "C", "t": stamp(n)}
        ],
        ([{"T": "success", "msg": "connected"}], [{"T": "success", "msg": "authenticated"}],
         [{"T": "subscription", "trades": ["ACME"], "quotes": [], "bars": []}]),
    ),
    Talk(
        "massive",
        "ACME",
        lambda n: [
            {"ev": "T", "sym": "ACME", "x": 4, "i": str(n), "z": 3, "p": price(n), "s": 5,
             "c": [12], "t": START_MS + n, "q": n}
        ],
        ([{"ev": "status", "status": "auth_success", "message": "authenticated"}],),
    ),
    Talk(
        "tiingo",
        "ACME",
        lambda n: {"messageType": "A", "service": "iex", "data": [
            "T", stamp(n), (START_MS + n) * 1_000_000, "acme", None, None, None, None, None,
            price(n), 5, None, 0, 0, 0, 0]},
        settings={"threshold_level": 5},
    ),
    Talk(
        "binance",
        "ACMEUSDT",
        lambda n: {"stream": "acmeusdt@aggTrade", "data": {
            "e": "aggTrade", "E": START_MS + n, "s": "ACMEUSDT", "a": n, "p": f"{price(n):.8f}",
            "q": "0.10000000", "f": n, "l": n, "T": START_MS + n, "m": n % 2 == 0, "M": True}},
    ),
    Talk(
        "coinbase",
        "ACME-USD",
        lambda n: {"type": "match", "trade_id": n, "maker_order_id": "a", "taker_order_id": "b",
                   "side": "sell", "size": "0.1", "price": f"{price(n):.2f}",
                   "product_id": "ACME-USD", "sequence": n, "time": stamp(n)},
    ),
    Talk(
        "kraken",
        "ACME/USD",
        lambda n: {"channel": "trade", "type": "update", "data": [
            {"symbol": "ACME/USD", "side": "buy", "price": price(n), "qty": 0.1,
             "ord_type": "limit", "trade_id": n, "timestamp": stamp(n)}]},
    ),
    Talk(
        "bitfinex",
        "tACMEUSD",
        lambda n: [17, "te", [n, START_MS + n, 0.1, price(n)], n + 3],
        ({"event": "info", "version": 2, "platform": {"status": 1}},
         {"event": "conf", "status": "OK", "flags": 65536},
         {"event": "subscribed", "channel": "trades", "chanId": 17, "symbol": "tACMEUSD"}),
    ),
    Talk(
        "yahoo",
        "ACME",
        lambda n: {"type": "pricing", "message": _PRICING[n % len(_PRICING)]},
    ),
    Talk(
        "yahoo",
        "ACME",
        lambda n: {"type": "pricing", "message": _FULL[n % len(_FULL)]},
        note="one trade a frame, twenty fields as on its socket",
    ),
)  # fmt: skip

#: One of Yahoo's messages (id ACME, price, time in ms, volume of the day), by growing volume.
_PRICING: list[str] = []
#: The same with sixteen fields more, which are no record's.
_FULL: list[str] = []


def yahoo_messages(count: int) -> None:
    import base64
    import struct

    def varint(number: int) -> bytes:
        out = bytearray()
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        return bytes([*out, number])

    for n in range(count):
        body = b"\x0a\x04ACME" + b"\x15" + struct.pack("<f", price(n))
        body += b"\x18" + varint(2 * (START_MS + n)) + b"\x48" + varint(2 * (n + 1) * 10)
        _PRICING.append(base64.b64encode(body).decode())
        body += b"\x22\x03USD\x2a\x03NMS" + b"\x30\x08\x38\x01"
        body += b"".join(
            bytes([field << 3 | 5]) + struct.pack("<f", n) for field in (8, 10, 11, 12)
        )
        body += b"\x7d" + struct.pack("<f", n) + b"\xb0\x01" + varint(2 * n) + b"\xd8\x01\x04"
        body += b"\xe0\x01" + varint(n) + b"\xe8\x01" + varint(n) + b"\xf2\x01\x04ACME"
        body += b"\x81\x02" + struct.pack("<d", n) + b"\x89\x02" + struct.pack("<d", n)
        _FULL.append(base64.b64encode(body).decode())


def dialect(talk: Talk) -> Dialect:
    declared = {each.name for each in fields(settings_type(talk.source))}
    keys: dict[str, Any] = {
        key: "nobodys-key" for key in ("api_key", "api_secret") if key in declared
    }
    source: Any = open_source(talk.source, settings=keys | talk.settings)
    spoken: Dialect = source.dialect([talk.symbol], ["trade"])
    return spoken


def texts(talk: Talk, count: int) -> list[str]:
    return [json.dumps(talk.trade(n), separators=(",", ":")) for n in range(count)]


def ours(talk: Talk, frames: list[str]) -> tuple[float, float, int]:
    """CPU seconds to Arrow batches, those for their event ids, and records.

    A frame's object is made by the reader's thread, so it counts.
    """
    speaker = dialect(talk)
    at = datetime.now(UTC)
    speaker.read([Frame(at, "in", "", json.dumps(frame)) for frame in talk.before])
    records, reading, naming = 0, 0.0, 0.0
    for first in range(0, len(frames), BATCH):
        start = time.process_time()
        batch = [Frame(at, "in", "", text) for text in frames[first : first + BATCH]]
        tables = speaker.read(batch).tables
        read = time.process_time()
        for kind, table in tables.items():
            records += with_lasting_ids(table, kind).num_rows
        reading, naming = reading + read - start, naming + time.process_time() - read
    return reading, naming, records


def peer(frames: list[str]) -> float:
    before = time.process_time()
    for text in frames:
        json.loads(text)
    return time.process_time() - before


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the frames")
    count = 20_000 if parser.parse_args().quick else 100_000
    yahoo_messages(count)
    for talk in TALKS:
        frames = texts(talk, count)
        ours(talk, frames[:BATCH])  # warm
        cpu, ids, records = ours(talk, frames)
        rate, named = count / cpu, count / (cpu + ids)
        trades = records / cpu
        found = {
            "name": "socket_frames",
            "what": f"{talk.source}: frames → Arrow batches, {talk.note}",
            "figure": f"{rate:,.0f} frames ({trades:,.0f} trades) per CPU second; "
            f"with event ids {named:,.0f}",
            "records": records,
            "cpu_seconds": round(cpu, 3),
            "records_per_cpu_second": round(trades),
            "peer": f"json.loads alone {count / peer(frames):,.0f} frames",
            "goal": f"≥ {GOAL:,} frames per CPU second",
            "met": rate >= GOAL,
        }
        if records < count * 0.99:
            raise SystemExit(f"{talk.source}: {records} records of {count} frames")
        print(json.dumps(found, ensure_ascii=False), flush=True)
        print(f"{found['what']}: {found['figure']}; {found['peer']}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
