"""200 overlapping queries over simulated days: requests and bytes, ours beside three others.

    python benchmarks/cache_traffic.py [--quick] [--only ours,yfinance,…]

One local server plays Yahoo for five stocks of a simulated exchange (`testing/exchange.py`). Every
client asks the same queries at the same moments of the story: five symbols, three intervals,
growing and shifting ranges. What is counted is what the server saw. The others run in an
environment of their own, installed once under `.services/peers/yahoo`, with the clock set by
time-machine; their requests to Yahoo's hosts are led to the local server.

The minimum is computed here from the rules of a bar's life, not from the cache's code: a query
needs a request if it wants a bar that was never told to this client, or one that is due again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from tickerlake.calendars import Session
from tickerlake.testing.exchange import Exchange
from tickerlake.testing.provider import ProviderAnswer, ProviderRequest, provider_server

HERE = Path(__file__).resolve().parent
PEERS = HERE.parent / ".services" / "peers" / "yahoo"
PACKAGES = (
    "yfinance==1.7.0",
    "yfinance-cache==0.9.3",
    "requests-cache==1.3.3",
    "time-machine==3.6.0",
)
CLIENTS = ("ours", "yfinance", "yfinance + requests-cache", "yfinance-cache")

SYMBOLS = ("AAPL", "IBM", "KO", "MSFT", "XOM")
INTERVALS = ("15m", "1h", "1d")
QUERIES = 200
GRACE = timedelta(minutes=15)
LIVE = timedelta(seconds=60)
DAY = timedelta(days=1)
LENGTHS = {"15m": timedelta(minutes=15), "1h": timedelta(hours=1)}


@dataclass(frozen=True)
class Query:
    """One question: session dates, both included; no end is "up to now"."""

    at: str
    symbol: str
    interval: str
    start: str
    end: str | None


def story(exchange: Exchange, count: int) -> list[Query]:
    """Fifteen queries a day: what was asked before grows, shifts, or is asked again."""
    chance = random.Random(7)
    days = [s for s in exchange.sessions if s.date >= date(2024, 3, 4)]
    queries: list[Query] = []
    # Before the open, twice while the session runs, after the close, and in the evening.
    moments = [timedelta(hours=hours, minutes=7) for hours in (-3, 1, 4, 7, 9)]
    for session in days:
        for moment in sorted(moments * 3):
            at = session.open + moment
            symbol, interval = chance.choice(SYMBOLS), chance.choice(INTERVALS)
            back = chance.choice([0, 1, 5, 10, 20, 30, 40])
            start = session.date - timedelta(days=back)
            length = chance.choice([None, None, 3, 10])
            end = None if length is None else start + timedelta(days=length)
            queries.append(
                Query(
                    at.isoformat(), symbol, interval, str(start), None if end is None else str(end)
                )
            )
            if len(queries) == count:
                return queries
    raise AssertionError


class Yahoo:
    """Plays the chart API from the exchange's truth at the story's moment."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.now = datetime(2024, 3, 4, tzinfo=UTC)
        self.requests = 0
        self.sent = 0
        self.perfect = Perfect(exchange)

    def answer(self, request: ProviderRequest) -> ProviderAnswer:
        if request.path == "/control":
            query = Query(**json.loads(request.query["query"]))
            self.now = datetime.fromisoformat(query.at)
            self.perfect.judge(query)
            return ProviderAnswer({})
        answer = self._answer(request)
        self.requests += 1
        self.sent += len(answer.payload)
        return answer

    def _answer(self, request: ProviderRequest) -> ProviderAnswer:
        dated = {"Date": self.now.strftime("%a, %d %b %Y %H:%M:%S GMT")}
        if request.path.startswith("/v8/finance/chart/"):
            chart = self._chart(request.path.rsplit("/", 1)[1], request.query)
            return ProviderAnswer(chart, headers=dated)
        if request.path.endswith("getcrumb"):
            return ProviderAnswer("crumb", headers={"content-type": "text/plain"} | dated)
        told = {
            "symbol": request.query.get("symbols", request.path.rsplit("/", 1)[1]),
            "exchange": "NYQ", "quoteType": "EQUITY", "currency": "USD", "market": "us_market",
            "timeZoneFullName": "America/New_York", "exchangeTimezoneName": "America/New_York",
            "firstTradeDateMilliseconds": int(self.exchange.sessions[0].open.timestamp()) * 1000,
        }  # fmt: skip
        summary = {"result": [{"quoteType": told}], "error": None}
        quotes = {"result": [told], "error": None}
        both = {"quoteSummary": summary, "quoteResponse": quotes}
        return ProviderAnswer(both, headers=dated)

    def _chart(self, symbol: str, query: Mapping[str, str]) -> dict[str, Any]:
        interval = {"60m": "1h"}.get(query["interval"], query["interval"])
        sessions = [s for s in self.exchange.sessions if s.open <= self.now]
        last = sessions[-1]
        traded = min(self.now, last.close)
        low = int(query.get("period1", 0))
        high = int(query.get("period2", self.now.timestamp()))
        if "range" in query and "period1" not in query:
            low = int((self.now - 5 * DAY).timestamp())
        self.perfect.learn(symbol, interval, self.now, low, high)
        opens = {s.date: s.open for s in sessions}
        rows = []
        for row in self.exchange.bars(symbol, interval, self.now):
            stamp = opens[row["session_date"]] if interval == "1d" else row["ts"]
            if interval == "1d" and row["session_date"] == last.date:
                stamp = traded  # a live stamp, until the next session opens
            shown = opens[row["session_date"]] if interval == "1d" else row["ts"]
            if low <= shown.timestamp() < high:
                rows.append((int(stamp.timestamp()), row))
        meta = self._meta(symbol, query["interval"], last, traded, sessions)
        names = ("open", "high", "low", "close", "volume")
        indicators: dict[str, Any] = {"quote": [{n: [row[n] for _, row in rows] for n in names}]}
        if interval == "1d":
            indicators["adjclose"] = [{"adjclose": [row["close"] for _, row in rows]}]
        result = {"meta": meta, "timestamp": [at for at, _ in rows], "indicators": indicators}
        return {"chart": {"result": [result], "error": None}}

    def _meta(
        self,
        symbol: str,
        interval: str,
        last: Session,
        traded: datetime,
        sessions: Sequence[Session],
    ) -> dict[str, Any]:
        def period(session: Session) -> dict[str, Any]:
            start, end = int(session.open.timestamp()), int(session.close.timestamp())
            return {"timezone": "EST", "start": start, "end": end, "gmtoffset": -18000}

        summer = datetime(2024, 3, 10, 7, tzinfo=UTC) <= self.now
        meta: dict[str, Any] = {
            "currency": "USD", "symbol": symbol, "exchangeName": "NYQ",
            "fullExchangeName": "NYSE", "instrumentType": "EQUITY",
            "firstTradeDate": int(sessions[0].open.timestamp()),
            "regularMarketTime": int(traded.timestamp()),
            "gmtoffset": -14400 if summer else -18000, "timezone": "EST",
            "exchangeTimezoneName": "America/New_York", "priceHint": 2,
            "regularMarketPrice": 100.0, "chartPreviousClose": 100.0,
            "currentTradingPeriod": {name: period(last) for name in ("pre", "regular", "post")},
            "dataGranularity": interval, "range": "",
            "validRanges": ["1d", "5d", "1mo", "3mo", "6mo", "1y", "max"],
        }  # fmt: skip
        if interval != "1d":
            meta["tradingPeriods"] = [[period(session)] for session in sessions]
        return meta


class Perfect:
    """A planner that knows all that was ever told, and asks at most once a query.

    What a client's own requests brought beside what it wanted is known, too.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.requests = 0
        self._exchange = exchange
        #: When each bar was last told, and in which state, by series.
        self._known: dict[tuple[str, str], dict[datetime, tuple[datetime, str]]] = {}
        self._looked: dict[tuple[str, str], datetime] = {}

    def judge(self, query: Query) -> None:
        """Whether this query needs a request; before the client asks it."""
        now = datetime.fromisoformat(query.at)
        told = self._known.get((query.symbol, query.interval), {})
        needed = any(
            _due(self._exchange, row, told, query.interval, now)
            for row in self._exchange.bars(query.symbol, query.interval, now)
            if str(row["session_date"]) >= query.start
            and (query.end is None or str(row["session_date"]) <= query.end)
        )
        reaches = query.end is None or query.end >= str(now.date())
        if reaches and any(s.date == now.date() for s in self._exchange.sessions):
            # Today may have more by now: unless one looked since the last session had closed.
            ended = [s.close + GRACE for s in self._exchange.sessions if s.close + GRACE <= now]
            running = any(s.open <= now < s.close + GRACE for s in self._exchange.sessions)
            before = self._looked.get((query.symbol, query.interval))
            needed |= before is None or before < ended[-1] or (running and now - before >= LIVE)
        self.requests += needed

    def learn(self, symbol: str, interval: str, now: datetime, low: float, high: float) -> None:
        """What a request of the client's told."""
        known = self._known.setdefault((symbol, interval), {})
        for row in self._exchange.bars(symbol, interval, now):
            if low <= row["ts"].timestamp() < high or row["ts"].date() == now.date():
                known[row["ts"]] = now, row["state"]
        if high >= now.timestamp():
            self._looked[symbol, interval] = now


def _due(
    exchange: Exchange,
    row: Mapping[str, Any],
    told: Mapping[datetime, tuple[datetime, str]],
    interval: str,
    now: datetime,
) -> bool:
    if row["ts"] not in told:
        return True
    seen, state = told[row["ts"]]
    if state == "final":
        return False
    session = next(s for s in exchange.sessions if s.date == row["session_date"])
    end = session.close
    if interval != "1d":
        end = min(end, row["ts"] + LENGTHS[interval])
    if state == "forming":
        return now >= end + GRACE or now - seen >= LIVE
    return now >= exchange.following[session.date].close + GRACE


def install() -> Path:
    python = PEERS / "bin" / "python"
    if not (PEERS / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (PEERS / "ready").touch()
    return python


def ask_ours(base_url: str, queries: Sequence[Query], folder: Path) -> list[int]:
    """In this very process: the story's clock is a variable of its environment."""
    import urllib.parse
    import urllib.request

    from tickerlake.cache import CachedSource
    from tickerlake.sources import BarsRequest, open_source

    source = open_source("yahoo", settings={"base_url": base_url, "requests_per_second": None})
    cache = CachedSource(source, folder)
    rows = []
    for query in queries:
        told = urllib.parse.urlencode({"query": json.dumps(asdict(query))})
        urllib.request.urlopen(f"{base_url}/control?{told}").read()  # noqa: S310 - our own server
        os.environ["TICKERLAKE_NOW"] = query.at
        end = None if query.end is None else date.fromisoformat(query.end)
        request = BarsRequest(query.symbol, query.interval, date.fromisoformat(query.start), end)
        rows.append(cache.bars(request).bars.num_rows)
    cache.close()
    return rows


def ask_peer(client: str, base_url: str, queries: Sequence[Query], folder: Path) -> list[int]:
    (folder / "queries.json").write_text(json.dumps([asdict(query) for query in queries]))
    script = HERE / "peers" / "yahoo_queries.py"
    command = [str(install()), str(script), client, base_url, str(folder)]
    environment = os.environ | {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    rows: list[int] = json.loads(done.stdout.splitlines()[-1])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="40 queries")
    parser.add_argument("--only", default=",".join(CLIENTS))
    arguments = parser.parse_args()
    unknown = set(arguments.only.split(",")) - set(CLIENTS)
    if unknown:
        parser.error(f"--only takes {', '.join(CLIENTS)}, not {', '.join(sorted(unknown))}")
    exchange = Exchange(SYMBOLS, first=date(2023, 12, 1), last=date(2024, 6, 28))
    queries = story(exchange, 40 if arguments.quick else QUERIES)
    for client in arguments.only.split(","):
        yahoo = Yahoo(exchange)
        with provider_server(yahoo.answer) as server, tempfile.TemporaryDirectory() as folder:
            if client == "ours":
                rows = ask_ours(server.base_url, queries, Path(folder))
            else:
                rows = ask_peer(client, server.base_url, queries, Path(folder))
        print(
            json.dumps(
                {
                    "name": f"cache traffic: {client}",
                    "what": f"requests for {len(queries)} overlapping queries",
                    "figure": yahoo.requests,
                    "unit": "requests",
                    "megabytes": round(yahoo.sent / 1e6, 2),
                    "rows": sum(rows),
                    "queries_without_rows": rows.count(0),
                    "goal": f"the computed minimum, {yahoo.perfect.requests}",
                    "met": yahoo.requests == yahoo.perfect.requests if client == "ours" else None,
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
