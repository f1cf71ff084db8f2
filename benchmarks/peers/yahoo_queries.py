"""The queries of `cache_traffic.py` through yfinance and two caches for it, each at its moment.

    python yahoo_queries.py CLIENT BASE_URL FOLDER

Runs in the peers' environment. All that they send to any host is led to the local server.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import requests
import time_machine
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter


class Led(HTTPAdapter):
    """Sends every request to the local server, path and query unchanged."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base = urllib.parse.urlsplit(base_url)

    def send(self, request: PreparedRequest, **more: Any) -> Response:  # noqa: ANN401 - as theirs
        parts = urllib.parse.urlsplit(request.url)
        request.url = urllib.parse.urlunsplit(
            parts._replace(scheme="http", netloc=self._base.netloc)
        )
        return super().send(request, **more)


class Kept(requests.Session):
    """yfinance refuses requests-cache's own sessions, so it is put behind a plain one."""

    def __init__(self, cached: requests.Session) -> None:
        super().__init__()
        self._cached = cached

    def request(self, method: str, url: str, **more: Any) -> Response:  # noqa: ANN401 - as theirs
        return self._cached.request(method, url, **more)


def session_for(client: str, base_url: str, folder: Path) -> requests.Session:
    if client != "yfinance + requests-cache":
        session = requests.Session()
    else:
        import requests_cache

        session = requests_cache.CachedSession(
            str(folder / "http"), expire_after=dt.timedelta(hours=1)
        )
    session.mount("https://", Led(base_url))
    session.mount("http://", Led(base_url))
    return Kept(session) if client == "yfinance + requests-cache" else session


def main() -> None:
    client, base_url, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    session = session_for(client, base_url, folder)
    if client == "yfinance-cache":
        import yfinance_cache as library
    else:
        import yfinance as library
    rows = []
    tickers: dict[str, Any] = {}
    for query in json.loads((folder / "queries.json").read_text()):
        told = urllib.parse.urlencode({"query": json.dumps(query)})
        urllib.request.urlopen(f"{base_url}/control?{told}").read()  # noqa: S310 - our own server
        with time_machine.travel(dt.datetime.fromisoformat(query["at"]), tick=True):
            end = query["end"]
            if end is not None:  # theirs is excluded
                end = str(dt.date.fromisoformat(end) + dt.timedelta(days=1))
            more = {} if client == "yfinance-cache" else {"auto_adjust": False}
            try:
                symbol = query["symbol"]
                if symbol not in tickers:
                    tickers[symbol] = library.Ticker(symbol, session=session)
                found = tickers[symbol].history(
                    start=query["start"], end=end, interval=query["interval"], **more
                )
                rows.append(0 if found is None else len(found))
            except Exception as error:  # noqa: BLE001 - whatever it is, the query had no answer
                print(f"{query}: {type(error).__name__}: {error}", file=sys.stderr)
                rows.append(0)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
