"""A test of the tests: workers that break the protocol, and a judge that must find what they did.

Each runs through the same story. A worker is about to commit; at that very moment another delivers
the same records and more; then the first goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from recovery.harness import WINDOW
from tickerlake.delivery import DeliverySettings, Worker
from tickerlake.delivery.direct import DirectCommits
from tickerlake.lake.base import LakeTable
from tickerlake.lake.registry import open_lake
from tickerlake.lake.settings import LakeSettings
from tickerlake.streams import StreamsSettings, Topic
from tickerlake.streams.registry import open_stream
from tickerlake.testing.broken import OwnRetries, PropertyOnly, SentTwice, Unfenced
from tickerlake.testing.invariants import findings
from tickerlake.testing.sample_records import sample_bars

SETTINGS = DeliverySettings(flush_rows=50, read_records=10_000, repeat_window=WINDOW)


def only_repeats(topic: Topic) -> None:
    """What the first worker holds is nothing but repeats: there is nothing to append."""
    topic.publish(sample_bars(60))


def new_bars(topic: Topic) -> None:
    """What the first worker holds are new bars."""
    topic.publish(sample_bars(60, first=60))


def story(
    folder: Path,
    *,
    commits: type[DirectCommits] = DirectCommits,
    wrap: Callable[[LakeTable], LakeTable] = lambda table: table,
    held: Callable[[Topic], None] = new_bars,
    at: str,
) -> list[str]:
    """The zombie's story, always in the same order: no clock and no luck in it."""
    stream = open_stream("embedded:", workspace=folder, settings=StreamsSettings(partitions=1))
    lake = open_lake("./lake", "sqlite:", workspace=folder, settings=LakeSettings(fsync=False))
    topic, table = stream.topic("bar"), lake.table("bars_log")
    never = threading.Event()

    def honest() -> None:
        Worker(topic, table, settings=SETTINGS).run(never, once=True)

    topic.publish(sample_bars(60))
    honest()
    held(topic)
    overtaken = False

    def overtake(step: str, _: Mapping[str, Any]) -> None:
        nonlocal overtaken
        if step == at and not overtaken:
            overtaken = True
            topic.publish(sample_bars(90, first=200))
            honest()

    rival = wrap(table)
    Worker(
        topic,
        rival,
        settings=SETTINGS,
        committing=lambda heard: commits(rival, SETTINGS, 12.0, heard),
        failpoint=overtake,
    ).run(never, once=True)
    found = findings(topic, folder / "catalog.db", repeat_window=WINDOW)
    if not found:
        honest()
        found = findings(topic, folder / "catalog.db", repeat_window=WINDOW)
    stream.close()
    lake.close()
    return found


@pytest.mark.parametrize("at", ["6", "7", "3"])
@pytest.mark.parametrize("held", [new_bars, only_repeats])
def test_the_real_worker_comes_through(
    tmp_path: Path, at: str, held: Callable[[Topic], None]
) -> None:
    """The judge finds nothing where the protocol is kept, so what it finds below is real."""
    assert story(tmp_path, at=at, held=held) == []


def test_without_the_fence_records_come_twice(tmp_path: Path) -> None:
    """A worker that commits onto whatever is newest: the judge sees rows twice."""
    found = story(tmp_path, commits=Unfenced, at="6")
    assert any("is 2 rows" in finding for finding in found), found


def test_with_property_only_commits_an_offset_goes_back(tmp_path: Path) -> None:
    """No catalog compares a commit of properties alone: the judge sees the offset go back."""
    found = story(tmp_path, wrap=PropertyOnly, held=only_repeats, at="3")
    assert any("went back" in finding for finding in found), found


def test_with_pyicebergs_own_retries_records_come_twice(tmp_path: Path) -> None:
    """A stale append that is repeated on a fresh parent: the judge sees rows twice."""
    found = story(tmp_path, wrap=OwnRetries, at="3")
    assert any("is 2 rows" in finding for finding in found), found


def test_with_pyicebergs_own_cleaning_a_live_file_is_gone(tmp_path: Path) -> None:
    """PyIceberg deletes the manifests of a commit that had landed: the judge misses them."""
    found = story(tmp_path, wrap=SentTwice, at="none")
    assert any("is gone" in finding for finding in found), found
