"""What Finnhub says on its socket: trades, price updates, pings.

Sources: Finnhub's documentation (frames), a recording of 2023-03-31, issues 158, 517, 534 and 546
of finnhubio/Finnhub-API (silence without a close, second connections, a day of threefold trades).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import ConfigError, TickerlakeError
from tickerlake.records import Kind
from tickerlake.sources.frames import FrameColumns, epoch_ns, ticks
from tickerlake.sources.live import Frame, Heard

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Words = npt.NDArray[np.uint64]
    Counts = npt.NDArray[np.int64]
    Places = npt.NDArray[np.intp]

__all__ = ["KEY_TODO", "PROVIDER", "FinnhubTalk", "refused_key"]

PROVIDER: Final = "finnhub"
KEY_TODO: Final = "set TICKERLAKE_SOURCES_FINNHUB_API_KEY to the key of your account at finnhub.io"

_TRADE: Final = pa.struct(
    [
        ("s", pa.string()),
        ("p", pa.float64()),
        ("t", pa.int64()),
        ("v", pa.float64()),
        ("c", pa.list_(pa.string())),
    ]
)
_FRAME: Final = pa.schema([("type", pa.string()), ("msg", pa.string()), ("data", pa.list_(_TRADE))])
#: Equal trades this far apart in market time are not counted together.
_MEMORY_NS: Final = 10_000_000_000


class FinnhubTalk:
    """One connection. No trade has an id: `trade_id` counts equal ones of one millisecond."""

    def __init__(
        self, socket_url: str, api_key: str, symbols: Sequence[str], *, silence_seconds: float
    ) -> None:
        # The key can be given in the address only; `Frame.url` and all logs are cut at the `?`.
        self.url = f"{socket_url}?token={api_key}"
        self.headers: Mapping[str, str] = {}
        self.silence_seconds = silence_seconds
        self.keep_alive_seconds: float | None = None
        self._symbols = tuple(symbols)
        self._frames = FrameColumns(_FRAME)
        self._equals = _Equals()

    def hello(self) -> Sequence[str | bytes]:
        """One subscription a symbol: Finnhub takes no lists."""
        import msgspec

        asks = ({"type": "subscribe", "symbol": symbol} for symbol in self._symbols)
        return [msgspec.json.encode(ask).decode() for ask in asks]

    def keep_alive(self) -> Sequence[str | bytes]:
        """Nothing: the server pings, and wants no answer."""
        return ()

    def read(self, frames: Sequence[Frame]) -> Heard:
        """Trades; what moved a price without a trade (volume 0) is left out and told."""
        told = self._frames.read(frames)
        notes = list(told.notes)
        types = told.table["type"]
        unknown = pc.unique(types.filter(pc.invert(pc.is_in(types, _KNOWN_TYPES)))).to_pylist()
        notes += [f"a frame of the type {type_!r}, which we do not know" for type_ in unknown]
        error: TickerlakeError | None = None
        errors = told.table.filter(pc.equal(types, "error"))
        for text in pc.unique(errors["msg"]).to_pylist():
            if _is_about_the_key(text):
                error = refused_key(text)
            else:
                notes.append(f"Finnhub says: {text}")
        rows = told.explode("data")
        trades, left_out = self._trades(rows)
        notes += left_out
        tables: dict[Kind, pa.Table] = {"trade": trades} if trades.num_rows else {}
        # Nothing acknowledges a subscription: whatever comes shows that the line is open.
        ready = pc.any(pc.is_in(types, pa.array(["trade", "ping"]))).as_py() is True
        return Heard(tables=tables, error=error, ready=ready, notes=tuple(notes))

    def _trades(self, rows: pa.Table) -> tuple[pa.Table, list[str]]:
        notes: list[str] = []
        whole = pc.and_(pc.is_valid(rows["s"]), pc.and_(pc.is_valid(rows["p"]), _in_time(rows)))
        if not pc.all(whole).as_py() and rows.num_rows:
            notes.append("trades without symbol, price or time were left out")
            rows = rows.filter(whole)
        moves = pc.fill_null(pc.equal(rows["v"], 0.0), False)
        if pc.any(moves).as_py():
            notes.append("price updates, which are no trades (volume 0), were left out")
            rows = rows.filter(pc.invert(moves))
        conditions = pc.binary_join(rows["c"], ",")
        conditions = pc.if_else(pc.equal(conditions, ""), None, conditions)
        ns = epoch_ns(rows["t"])
        places = self._equals.places(rows["s"], ns, rows["p"], rows["v"], conditions)
        trades = ticks(
            "trade",
            PROVIDER,
            rows["received_at"],
            symbol=rows["s"],
            ts_ns=ns,
            price=rows["p"],
            size=rows["v"],
            conditions=conditions,
            trade_id=pa.array(places).cast(pa.string()),
        )
        return trades, notes


_KNOWN_TYPES: Final = pa.array(["trade", "ping", "error"])


def _in_time(rows: pa.Table) -> pa.ChunkedArray:
    """Times that nanoseconds can tell, in whichever unit."""
    return pc.fill_null(pc.and_(pc.greater(rows["t"], 0), pc.less(rows["t"], 9 * 10**18)), False)


def _is_about_the_key(text: str | None) -> bool:
    words = (text or "").lower()
    return any(word in words for word in ("api key", "apikey", "token", "unauthorized", "access"))


def refused_key(text: str | None) -> ConfigError:
    """Finnhub does not take the key, or not for this."""
    if "access" in (text or "").lower():
        return ConfigError(
            "Your plan at Finnhub does not have this.",
            expected="a key whose plan has this",
            found=repr(str(text)[:120]),
            todo="ask for something else, or change the plan",
        )
    return ConfigError(
        "Finnhub refuses the key.",
        expected="a key that Finnhub knows",
        found=repr((text or "no reason")[:120]),
        todo=KEY_TODO,
    )


class _Equals:
    """Counts equal trades of one moment, however the frames that held them were batched."""

    def __init__(self) -> None:
        import numpy as np

        self._symbols: dict[str | None, int] = {}
        self._conditions: dict[str | None, int] = {}
        #: Sorted hashes of recent trades, how many of each there were, and their times.
        self._seen: Words = np.empty(0, np.uint64)
        self._counts: Counts = np.empty(0, np.int64)
        self._times: Counts = np.empty(0, np.int64)

    def places(
        self,
        symbols: pa.ChunkedArray,
        ns: pa.ChunkedArray,
        prices: pa.ChunkedArray,
        sizes: pa.ChunkedArray,
        conditions: pa.ChunkedArray,
    ) -> Counts:
        """For each trade, how many equal ones came before it."""
        import numpy as np

        times = ns.to_numpy()
        if not len(times):
            return np.empty(0, np.int64)
        hashed = _mixed(_codes(symbols, self._symbols))
        for words in (
            times.view(np.uint64),
            prices.to_numpy().view(np.uint64),
            pc.fill_null(sizes, -1.0).to_numpy().view(np.uint64),
            _codes(conditions, self._conditions),
        ):
            hashed = _mixed(hashed ^ words)
        order = np.argsort(hashed, kind="stable")
        in_order = hashed[order]
        starts = np.flatnonzero(np.r_[True, in_order[1:] != in_order[:-1]])
        sizes_of = np.diff(np.r_[starts, len(in_order)])
        unique, first_times = in_order[starts], times[order[starts]]
        before, again = self._before(unique)
        places = np.empty(len(times), np.int64)
        within = np.arange(len(in_order)) - np.repeat(starts, sizes_of)
        places[order] = within + np.repeat(before, sizes_of)
        self._remember(unique, before + sizes_of, first_times, again)
        return places

    def _before(self, unique: Words) -> tuple[Counts, Places]:
        """How many of each are remembered, and where; beyond the end for none."""
        import numpy as np

        at = self._seen.searchsorted(unique)
        within = np.minimum(at, max(len(self._seen) - 1, 0))
        known = self._seen[within] == unique if len(self._seen) else np.zeros(len(at), bool)
        counts: Counts = np.zeros(len(unique), np.int64)
        counts[known] = self._counts[within[known]]
        return counts, at[known]

    def _remember(self, unique: Words, counts: Counts, times: Counts, again: Places) -> None:
        import numpy as np

        since = max(times.max(), self._times.max(initial=0)) - _MEMORY_NS
        kept = self._times >= since
        kept[again] = False
        new = times >= since
        seen = np.concatenate((self._seen[kept], unique[new]))
        order = np.argsort(seen, kind="stable")  # two sorted runs: cheap
        self._seen = seen[order]
        self._counts = np.concatenate((self._counts[kept], counts[new]))[order]
        self._times = np.concatenate((self._times[kept], times[new]))[order]


def _codes(texts: pa.ChunkedArray, known: dict[str | None, int]) -> Words:
    """A number for each text, the same in every batch of the connection."""
    import numpy as np

    encoded = pc.fill_null(texts.combine_chunks(), "").dictionary_encode()
    numbers = [known.setdefault(text, len(known)) for text in encoded.dictionary.to_pylist()]
    return np.array(numbers, np.uint64)[encoded.indices.to_numpy(zero_copy_only=False)]


def _mixed(words: Words) -> Words:
    """SplitMix64's finaliser: every bit of the input moves half of the output's."""
    import numpy as np

    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
