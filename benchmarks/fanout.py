"""Fan-out: 10,000 updates a second to 200 pages, conflated, beside one send per update.

The server under test runs in a process of its own; 200 clients hold its live stream open and a
feed inside the server's process pushes bars through the same callback that the stream's reader
uses. CPU is the server's alone, the pushing included; latency is from a record's arrival at the
hub until a client has read the frame that carries it (or a newer state of the same bar).

The peer is what tutorials do: for every update, one message to each client that asked for it. It
runs behind the same server and sockets, and is stopped when the time is up, however far it is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import resource
import sys
import time
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import Any

import pyarrow as pa

from tickerlake.records import Kind
from tickerlake.testing.page import BarsChain, bars_table
from tickerlake.web import WebSettings, serve
from tickerlake.web.hub import Hub

SYMBOLS = 50
UPDATES_PER_SECOND = 10_000
BATCHES_PER_SECOND = 100
START = datetime(2013, 3, 1, 14, 30, tzinfo=UTC)


class Feed(BarsChain):
    """Pushes bars at the wanted rate; each bar's `volume` is the instant of its push."""

    def run(self, seconds: float) -> tuple[int, float]:
        """Push, then give how many updates went out and the CPU seconds of the whole process."""
        rows = UPDATES_PER_SECOND // BATCHES_PER_SECOND
        batch = bars_table(
            [
                {
                    "symbol": f"S{number % SYMBOLS:03}", "interval": "1m", "ts": START,
                    "close": 100.0 + number % 7, "state": "forming", "fetched_at": START,
                }
                for number in range(rows)
            ]
        )  # fmt: skip
        names = batch.column_names
        before, started, pushed = cpu_seconds(), time.monotonic(), 0
        for turn in range(int(seconds * BATCHES_PER_SECOND)):
            pause = started + turn / BATCHES_PER_SECOND - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            elif time.monotonic() > started + seconds + 1:
                break  # the peer does not keep up; what it has not pushed by now does not count
            ids = pa.array(range(turn * rows, (turn + 1) * rows), pa.int64())
            stamps = pa.array([time.time()] * rows)
            stamped = batch.set_column(names.index("event_id"), "event_id", ids)
            self.send(stamped.set_column(names.index("volume"), "volume", stamps))
            pushed += rows
        return pushed, cpu_seconds() - before

    def send(self, table: pa.Table) -> None:
        """Tell the subscribers; the log behind SQL is not part of this measurement."""
        for callback in self.subscribers:
            callback("bar", table)

    def subscribe(self, callback: Callable[[Kind, pa.Table], None]) -> Callable[[], None]:
        """Keep the one subscriber, the hub."""
        self.subscribers = [callback]
        return lambda: None


class SendEach:
    """The peer: every update is encoded and queued for every client, one message each."""

    def __init__(self) -> None:
        self.queues: list[asyncio.Queue[bytes]] = []
        self.loop: asyncio.AbstractEventLoop | None = None

    def feed(self, _kind: Kind, table: pa.Table) -> None:
        for row in table.select(["symbol", "close", "volume", "event_id"]).to_pylist():
            text = f"data: {json.dumps({'bars': [row]})}\n\n".encode()
            for queue in self.queues:
                if self.loop is not None:
                    self.loop.call_soon_threadsafe(queue.put_nowait, text)

    async def frames(self, _symbols: Any) -> AsyncGenerator[bytes]:  # noqa: ANN401
        self.loop = asyncio.get_running_loop()
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.queues.append(queue)
        yield b"event: hello\ndata: {}\n\n"
        while True:
            yield await queue.get()


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def server(pipe: Connection, seconds: float, each: bool) -> None:
    """The process under test: serves, waits for `go`, pushes, reports."""
    import threading

    if each:
        peer = SendEach()
        Hub.feed = peer.feed  # type: ignore[method-assign]
        Hub.frames = peer.frames  # type: ignore[method-assign]
        # It still writes to clients that have left when the time is up, and says so each time.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
    feed = Feed()
    stop = threading.Event()

    def drive(address: str) -> None:
        pipe.send(address)
        pipe.recv()
        pipe.send(feed.run(seconds))
        pipe.recv()
        stop.set()

    serve(
        feed,
        live=feed,
        pipeline=feed.pipeline,
        settings=WebSettings(port=0),
        on_address=lambda address: threading.Thread(
            target=drive, args=(address,), daemon=True
        ).start(),
        stop=stop,
    )


async def client(port: int, ready: Callable[[], None], late: list[float], until: float) -> None:
    """Read one stream as a page does, keeping how late each frame's newest bar is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    writer.write(f"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    await reader.readuntil(b"event: hello")
    ready()
    mark = b'"volume":'
    try:
        while True:
            data = await asyncio.wait_for(reader.read(2**20), until - time.monotonic())
            at = data.rfind(mark)
            if at >= 0 and (stamp := number(data[at + len(mark) : at + 30])) > 1e9:
                late.append(time.time() - stamp)
    except TimeoutError:
        pass
    finally:
        writer.close()


def number(text: bytes) -> float:
    digits = text.split(b",")[0].split(b"}")[0].strip()
    try:
        return float(digits)
    except ValueError:  # cut by the end of what was read
        return 0.0


async def crowd(address: str, pipe: Connection, clients: int, seconds: float) -> list[float]:
    port = int(address.rstrip("/").rsplit(":", 1)[1])
    late: list[float] = []
    waiting = clients
    all_ready = asyncio.Event()

    def ready() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            all_ready.set()

    until = time.monotonic() + seconds + 3
    running = [asyncio.create_task(client(port, ready, late, until)) for _ in range(clients)]
    await all_ready.wait()
    pipe.send("go")
    await asyncio.gather(*running)
    return late


def measure(clients: int, seconds: float, *, each: bool) -> dict[str, float]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=server, args=(theirs, seconds, each)
    )
    process.start()
    try:
        late = sorted(asyncio.run(crowd(ours.recv(), ours, clients, seconds)))
        pushed, cpu = ours.recv()
        ours.send("stop")
        process.join(2 if each else 20)
    finally:
        if process.is_alive():
            process.kill()
            process.join()
    return {
        "updates": pushed,
        "cpu_seconds": round(cpu, 3),
        "cores": round(cpu / seconds, 3),
        "frames_read": len(late),
        "p50_milliseconds": round(1000 * late[len(late) // 2], 1) if late else float("nan"),
        "p99_milliseconds": round(1000 * late[int(len(late) * 0.99)], 1) if late else float("nan"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    clients, seconds = (200, 2.0) if quick else (200, 10.0)
    ours = measure(clients, seconds, each=False)
    peer = measure(clients, min(seconds, 4.0), each=True)
    line = {
        "name": "fanout",
        "what": f"{UPDATES_PER_SECOND:,} updates/s over {SYMBOLS} symbols to {clients} pages",
        "records": ours["updates"],
        "records_per_cpu_second": round(ours["updates"] / ours["cpu_seconds"]),
        **ours,
        "figure": f"{ours['cores']} core, p50 {ours['p50_milliseconds']:.0f} ms, "
        f"p99 {ours['p99_milliseconds']:.0f} ms",
        "peer": f"one send per update and page: p50 {peer['p50_milliseconds']:.0f} ms, "
        f"p99 {peer['p99_milliseconds']:.0f} ms, {peer['updates']:,} updates pushed",
        "goal": "at most 0.25 core, p99 at most 100 ms",
        "met": ours["cores"] <= 0.25 and ours["p99_milliseconds"] <= 100,
    }
    print(json.dumps(line))
    print(
        f"fanout: {ours['cores']} core, p50 {ours['p50_milliseconds']} ms, "
        f"p99 {ours['p99_milliseconds']} ms; one send per update: p50 "
        f"{peer['p50_milliseconds']} ms, p99 {peer['p99_milliseconds']} ms",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
