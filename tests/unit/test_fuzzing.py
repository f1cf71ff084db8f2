"""Nothing but our own errors comes out of a parser, whatever a provider sends.

A short, repeatable form runs with all tests; `make prove` runs a long one that looks elsewhere each
time (`TICKERLAKE_TEST_FUZZ_EXAMPLES`).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seeds import frames, payloads
from tickerlake.errors import TickerlakeError
from tickerlake.records import SCHEMAS
from tickerlake.sources import Frame, Live, Source, names, open_source
from tickerlake.sources.registry import settings_type
from tickerlake.testing.mutations import mutated

EXAMPLES = int(os.environ.get("TICKERLAKE_TEST_FUZZ_EXAMPLES", "0"))
fuzzed = settings(
    max_examples=EXAMPLES or 60,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
AT = datetime(2024, 1, 3, 15, 0, tzinfo=UTC)


def opened(name: str) -> Source:
    """The source with a key, where it has one: parsing asks nobody."""
    fields = settings_type(name).__dataclass_fields__
    keys = {key: "nobodys-key" for key in ("api_key", "api_secret") if key in fields}
    if name == "capture":  # whose frames it plays
        keys["provider"] = "finnhub"
    return open_source(name, settings=keys)


LIVE = [name for name in names() if opened(name).limits.live and isinstance(opened(name), Live)]


@pytest.mark.timeout(0 if EXAMPLES else 300)
@pytest.mark.parametrize("name", names())
@fuzzed
@given(random=st.randoms(use_true_random=False))
def test_a_damaged_answer_is_read_or_refused(name: str, random: Random) -> None:
    """Records in the schemas of their kinds, or an error of our tree; never anything else."""
    source = opened(name)
    payload = mutated(random.choice(payloads(name)), random)
    interval = random.choice((None, *source.limits.intervals))
    symbol = random.choice((None, "ACME", "BTCUSDT"))
    try:
        answer = source.parse(payload, symbol=symbol, interval=interval, received_at=AT)
    except TickerlakeError as error:
        assert error.todo or error.expected, f"no help in {error!r}"  # noqa: PT017 - of any error
        return
    for kind, table in answer.tables():
        assert table.schema == SCHEMAS[kind]
        table.validate(full=True)


@pytest.mark.timeout(0 if EXAMPLES else 300)
@pytest.mark.parametrize("name", LIVE)
@fuzzed
@given(random=st.randoms(use_true_random=False))
def test_a_damaged_talk_is_never_raised(name: str, random: Random) -> None:
    """A dialect reads any frames in any order: records, notes, or the end of the connection."""
    source = opened(name)
    assert isinstance(source, Live)
    dialect = source.dialect(["ACME", "BTCUSDT"], source.limits.live)
    dialect.hello()
    good = list(frames(name))
    damaged: list[str | bytes] = []
    for frame in good:
        fate = random.random()
        if fate < 0.6:
            damaged.append(frame)
        elif fate < 0.9:
            damaged.append(mutated(frame.encode(), random).decode(errors="surrogateescape"))
        elif fate < 0.95:
            damaged.append(mutated(frame.encode(), random))
    if random.random() < 0.2:
        random.shuffle(damaged)
    at = random.randrange(len(damaged) + 1)
    for batch in (damaged[:at], damaged[at:]):
        heard = dialect.read([Frame(AT, "in", "wss://acme.example", frame) for frame in batch])
        for kind, table in heard.tables.items():
            assert table.schema == SCHEMAS[kind]
            table.validate(full=True)
        if heard.error is not None:
            return


@pytest.mark.parametrize("name", LIVE)
def test_the_seed_of_a_talk_holds_records(name: str) -> None:
    """What is damaged above is a talk that would give records, or nothing would be tried."""
    source = opened(name)
    assert isinstance(source, Live)
    dialect = source.dialect(["ACME", "BTCUSDT"], source.limits.live)
    dialect.hello()
    heard = [dialect.read([Frame(AT, "in", "wss://x", frame)]) for frame in frames(name)]
    assert sum(table.num_rows for each in heard for table in each.tables.values())


@pytest.mark.parametrize("name", names())
def test_the_seed_of_an_answer_is_read(name: str) -> None:
    """At least one good answer of each provider gives records; the sample has no answers."""
    rows = 0
    for payload in payloads(name):
        try:
            answer = opened(name).parse(payload, symbol="ACME", received_at=AT)
        except TickerlakeError:
            continue
        rows += sum(table.num_rows for _, table in answer.tables()) + len(answer.notes)
    assert rows or name == "sample"
