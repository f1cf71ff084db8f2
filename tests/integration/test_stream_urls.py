"""From a laptop to a broker: only the stream's URL changes, and history comes along."""

from __future__ import annotations

import signal
import uuid
from pathlib import Path
from typing import Any

import pytest

import tickerlake
from command import running
from command import tickerlake as command
from services import Kafka
from tickerlake import config
from tickerlake.testing.sample_records import sample_bars

#: So many that the bars lie in a few months: a month is a file.
MANY = [f"S{number}" for number in range(1_000)]
SYMBOLS = "select symbol, count(*) as n, max(close) as high from bars group by 1 order by 1"
PLACES = """\
select symbol, _partition as place, count(*) as n from bars_history group by all order by all"""
COUNTS = "select count(*) as n, count(distinct event_id) as d from bars_history"


@pytest.fixture
def broker(kafka: Kafka) -> str:
    return f"kafka://{kafka.bootstrap}/test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder, _ = config.make_workspace(tmp_path / "one")
    return folder


def chain(folder: Path, url: str) -> list[Any]:
    """The same commands over any stream; what they answer."""
    flags = ("--stream", url, "--json")
    sent = command("publish", "FB", "AAPL", "--source", "sample", *flags, cwd=folder).lines
    delivered = command("deliver", "--once", *flags, cwd=folder).lines
    status = command("status", *flags, cwd=folder).json["topics"][0]
    return [
        [each.get("records") for each in sent if each["event"] == "done"],
        sum(each["rows"] for each in delivered if each["event"] == "delivered"),
        [(each["partition"], each["end"], each["lake"]) for each in status["partitions"]],
        *(command("sql", query, *flags, cwd=folder).json for query in (SYMBOLS, PLACES, COUNTS)),
    ]


@pytest.mark.slow
def test_only_the_url_differs(broker: str, tmp_path: Path) -> None:
    """The same commands over the embedded log and a broker: same rows, same partition numbers."""
    folders = [config.make_workspace(tmp_path / name)[0] for name in ("laptop", "team")]
    laptop, team = (chain(*each) for each in zip(folders, ("embedded:", broker), strict=True))
    assert laptop == team
    assert laptop[1] == 3466


@pytest.mark.slow
def test_a_copy_onto_a_broker_is_killed_in_its_middle_and_goes_on(
    broker: str, workspace: Path
) -> None:
    """Killed with records in flight; run again, each stands in the topic and the lake once."""
    with tickerlake.open(workspace) as opened:
        opened.stream.topic("bar").publish(sample_bars(120_000, symbols=MANY))
        opened.stream.append_raw("bar", "1", [b"rubbish"])
        ends = [opened.stream.topic("bar").bounds(str(number)).end for number in range(6)]
    words = ("stream", "copy", "embedded:", broker, "--kinds", "bar", "--json")
    with tickerlake.open(workspace, settings={"stream": broker}) as opened:
        topic = opened.stream.topic("bar")
        for _ in range(2):
            before = [topic.bounds(str(number)).end for number in range(6)]
            with running(*words, cwd=workspace) as process:
                while process.poll() is None:
                    if [topic.bounds(str(number)).end for number in range(6)] != before:
                        process.send_signal(signal.SIGKILL)
                process.wait(60)
            assert process.returncode == -signal.SIGKILL
        (copied,) = command(*words, cwd=workspace).json
        assert copied["found"] > 0
        assert [topic.bounds(str(number)).end for number in range(6)] == ends
    for url in ("embedded:", broker):
        flags = ("--stream", url, "--json")
        (done,) = command("deliver", "--once", *flags, cwd=workspace).lines
        assert (done["event"], done["rows"]) == ("done", 0)
        assert command("sql", COUNTS, *flags, cwd=workspace).json == [{"n": 120_000, "d": 120_000}]
