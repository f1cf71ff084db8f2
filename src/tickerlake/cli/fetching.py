"""Fetch many requests: in batches where the provider has them, each failure by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tickerlake.errors import PartlyDoneError, TickerlakeError
from tickerlake.sources import Refusals, batched

if TYPE_CHECKING:
    import pyarrow as pa

    from tickerlake.cache import CachedSource
    from tickerlake.cli.steps import Steps
    from tickerlake.search import Followed
    from tickerlake.sources import Answer, BarsRequest

__all__ = ["Fetched", "fetch"]


@dataclass(slots=True)
class Fetched:
    """What came, and what did not."""

    #: Symbol, interval, bars, first, last, corporate actions.
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    #: Only where they are wanted: many symbols' bars are too much to keep for nothing.
    answers: dict[str, Answer] = field(default_factory=dict)
    failures: dict[str, TickerlakeError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    #: Of these only what was cached before is had: their source could not be asked.
    stale: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    #: What repair changed, a table an answer.
    changes: list[pa.Table] = field(default_factory=list)
    #: Not begun when Ctrl-C came.
    left: list[str] = field(default_factory=list)

    def raise_if_incomplete(self) -> None:
        """What was not had is an error.

        Raises:
            TickerlakeError: Nothing was had: the first failure.
            PartlyDoneError: Some was had; says what was not.
        """
        if self.failures and not self.rows:
            raise next(iter(self.failures.values()))
        missing = [*self.missing, *(f"{name}: {e.problem}" for name, e in self.failures.items())]
        if missing:
            raise PartlyDoneError(
                "Not everything that was asked for could be had.",
                found=f"missing: {'; '.join(missing)}",
                todo="ask for another range, or for these again later",
            )


def fetch(
    source: CachedSource,
    followed: Followed,
    requests: Sequence[BarsRequest],
    steps: Steps,
    *,
    stopped: Callable[[], bool],
    into: Fetched,
    keep: bool,
    on_answer: Callable[[str, str, Answer], None],
) -> None:
    """Bring each request into the cache; one that cannot be had does not stop the others.

    Args:
        source: The cache over the provider.
        followed: The same, following symbols that became others.
        requests: What to fetch.
        steps: Told of each symbol, and of each request that is sent for it.
        stopped: Whether to end: no further request is sent, and what came is kept.
        into: Where it is told what came.
        keep: Keep answers, for a file.
        on_answer: Told of each answer, with its source and symbol.
    """
    fetched = into
    refusals = Refusals()
    for group in batched(requests, source.limits):
        if stopped():
            fetched.left += [request.symbol for request in group]
            continue
        if refusals.final is not None:
            fetched.failures |= dict.fromkeys((one.symbol for one in group), refusals.final)
            steps.end(len(group))
            continue
        steps.begin(_title(group), _total(source, group, steps))
        try:
            found = _answers(followed, group)
        except KeyboardInterrupt:  # between two requests: what came before is in the cache
            if not stopped():
                raise
            fetched.left += [request.symbol for request in group]
            continue
        for request, answer in found:
            refusals.told(answer)
            if isinstance(answer, TickerlakeError):
                fetched.failures[request.symbol] = answer
                continue
            _note(fetched, request, answer, keep=keep)
            on_answer(source.name, request.symbol, answer)
        steps.end(len(group))


def _title(group: Sequence[BarsRequest]) -> str:
    more = f" and {len(group) - 1} more" if len(group) > 1 else ""
    return f"{group[0].symbol}{more}"


def _total(source: CachedSource, group: Sequence[BarsRequest], steps: Steps) -> int | None:
    """How many requests it takes; asked only where somebody looks."""
    if not steps.draws:
        return None
    try:
        return source.plan(group).requests_max
    except TickerlakeError:
        return None  # the fetch itself says it better


def _answers(
    followed: Followed, group: Sequence[BarsRequest]
) -> list[tuple[BarsRequest, Answer | TickerlakeError]]:
    try:
        if len(group) == 1:
            return [(group[0], followed.bars(group[0]))]
        found = followed.bars_of([request.symbol for request in group], group[0])
    except TickerlakeError as error:
        return [(request, error) for request in group]
    answers: list[tuple[BarsRequest, Answer | TickerlakeError]] = []
    for request in group:
        answer = found[request.symbol]
        if isinstance(answer, Exception) and not isinstance(answer, TickerlakeError):
            raise answer
        answers.append((request, answer))
    return answers


def _note(fetched: Fetched, request: BarsRequest, answer: Answer, *, keep: bool) -> None:
    import pyarrow.compute as pc

    told = answer.bars["symbol"].unique().to_pylist()
    # The cache tells a symbol as it was written first: AAPL.US is aapl.us.
    own = next((name for name in told if name.upper() == request.symbol.upper()), request.symbol)
    for symbol in dict.fromkeys([own, *told]):
        bars = answer.bars.filter(pc.equal(answer.bars["symbol"], symbol))
        if symbol == own or bars.num_rows:
            actions = answer.actions.filter(pc.equal(answer.actions["symbol"], symbol))
            ends = pc.min_max(bars["session_date" if not bars["session_date"].null_count else "ts"])
            first, last = ends["min"].as_py(), ends["max"].as_py()
            row = (symbol, request.interval, bars.num_rows, first, last, actions.num_rows)
            fetched.rows.append(row)
    name = f"{request.symbol} {request.interval}"
    if answer.stale:
        fetched.stale.append(name)
    if keep:
        fetched.answers[name] = answer
    fetched.notes += [_named(note, request.symbol) for note in answer.notes]
    fetched.missing += [_named(part, request.symbol) for part in answer.missing]


def _named(text: str, symbol: str) -> str:
    return text if text.startswith(symbol) else f"{symbol}: {text}"
