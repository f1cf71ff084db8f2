"""Leases: a store of compare-and-set texts, thrice, and members that share partitions by it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tickerlake.errors import ConfigError, TickerlakeError
from tickerlake.streams import StreamsSettings, open_stream
from tickerlake.streams.leases import LeasedMembership, LeaseStore, open_store
from tickerlake.testing.services.process import wait_until

SIX = [str(number) for number in range(6)]


@pytest.fixture(params=["sqlite", "postgres", "dynamodb"])
def where(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The setting that names a store."""
    if request.param == "postgres":
        url: str = request.getfixturevalue("postgres").url()
        return url
    if request.param == "dynamodb":
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", request.getfixturevalue("ministack").url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tickerlake")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tickerlake-secret")
        return "dynamodb://us-east-1/tickerlake-leases"
    return f"sqlite:{tmp_path / 'leases.sqlite'}"


@pytest.fixture
def store(where: str, tmp_path: Path) -> Iterator[LeaseStore]:
    """One of each kind."""
    opened = open_store(where, workspace=tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def group() -> str:
    """A group that no other test uses."""
    return uuid.uuid4().hex


class TestStore:
    """The contract of a store."""

    def test_a_text_changes_only_where_it_is_what_was_expected(
        self, store: LeaseStore, group: str
    ) -> None:
        """Made, changed and removed by those who know it; refused to all others."""
        assert store.read(group) == {}
        assert store.write(group, "a", "1", expected=None)
        assert not store.write(group, "a", "2", expected=None)
        assert not store.write(group, "a", "2", expected="0")
        assert not store.write(group, "b", "2", expected="0")
        assert store.write(group, "a", "2", expected="1")
        assert not store.remove(group, "a", expected="1")
        assert store.write(group, "b", "x", expected=None)
        assert store.read(group) == {"a": "2", "b": "x"}
        assert store.remove(group, "a", expected="2")
        assert not store.remove(group, "a", expected="2")
        assert store.read(group) == {"b": "x"}

    def test_groups_do_not_meet(self, store: LeaseStore, group: str) -> None:
        """The same name in two groups is two texts."""
        assert store.write(group, "a", "1", expected=None)
        assert store.read(f"{group}-other") == {}
        assert store.write(f"{group}-other", "a", "2", expected=None)
        assert store.read(group) == {"a": "1"}

    def test_of_many_one_wins(self, where: str, tmp_path: Path, group: str) -> None:
        """Four handles write at once what each expects to be the first."""
        stores = [open_store(where, workspace=tmp_path) for _ in range(4)]
        stores[0].read(group)
        won: list[int] = []
        start = threading.Barrier(4)

        def write(number: int) -> None:
            start.wait()
            won.extend(
                turn
                for turn in range(10)
                if stores[number].write(group, f"name-{turn}", str(number), expected=None)
            )

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won) == list(range(10))
        for each in stores:
            each.close()


class Members:
    """Members of one group."""

    def __init__(self, where: str, folder: Path, group: str) -> None:
        self.where, self.folder, self.group = where, folder, group
        self.names: list[list[str]] = [SIX]
        self.joined: list[LeasedMembership] = []

    def join(self, lease_seconds: float = 1.0) -> LeasedMembership:
        store = open_store(self.where, workspace=self.folder)
        member = LeasedMembership(
            store, self.group, lambda: self.names, lease_seconds=lease_seconds
        )
        self.joined.append(member)
        return member

    def sizes(self) -> list[int]:
        return sorted(len(member.share()) for member in self.joined)

    def shared(self, *sizes: int) -> bool:
        """Whether each partition is one member's, and the shares are so large."""
        owned = [name for member in self.joined for name in member.share()]
        everything = sorted(name for names in self.names for name in names)
        return sorted(owned) == everything and self.sizes() == sorted(sizes)


@pytest.fixture
def members(where: str, tmp_path: Path, group: str) -> Iterator[Members]:
    """Nobody yet."""
    made = Members(where, tmp_path, group)
    yield made
    for member in made.joined:
        member.leave()


def test_the_first_member_has_all_at_once(members: Members) -> None:
    """Nobody to wait for."""
    assert members.join().share() == frozenset(SIX)


def test_members_come_and_go_and_each_has_its_fair_share(members: Members) -> None:
    """Six for one, three each for two, two each for three; who leaves is replaced."""
    members.join()
    members.join()
    wait_until(lambda: members.shared(3, 3))
    members.join()
    wait_until(lambda: members.shared(2, 2, 2))
    members.joined.pop(0).leave()
    wait_until(lambda: members.shared(3, 3))


def test_more_members_than_partitions_leave_some_idle(members: Members) -> None:
    """One each, and none for the last."""
    members.names = [["0", "1"]]
    for _ in range(3):
        members.join()
    wait_until(lambda: members.shared(0, 1, 1))


def test_partitions_that_appear_are_shared_and_those_that_go_are_given_up(
    members: Members,
) -> None:
    """A split: two more that are open, one that is closed, each set shared by itself."""
    members.names = [["0", "1"], []]
    members.join()
    members.join()
    wait_until(lambda: members.shared(1, 1))
    members.names = [["1", "2", "3"], ["0"]]
    wait_until(lambda: members.shared(2, 2))
    members.names = [["1", "2"], []]
    wait_until(lambda: members.shared(1, 1))


def test_a_store_that_was_emptied_begins_anew(members: Members, group: str) -> None:
    """All texts are lost; the members find each other again."""
    members.join()
    members.join()
    wait_until(lambda: members.shared(3, 3))
    store = open_store(members.where, workspace=members.folder)
    for name, text in store.read(group).items():
        store.remove(group, name, expected=text)
    store.close()
    wait_until(lambda: members.shared(3, 3))


CHILD = """
    import sys
    from pathlib import Path
    from tickerlake.streams.leases import LeasedMembership, open_store
    from tickerlake.clock import sleep

    where, folder, group = sys.argv[1:]
    store = open_store(where, workspace=Path(folder))
    names = [[str(number) for number in range(6)]]
    member = LeasedMembership(store, group, lambda: names, lease_seconds=1.0)
    print(len(member.share()), flush=True)
    while True:
        sleep(1)
"""


def test_a_killed_members_partitions_are_taken_over(members: Members) -> None:
    """SIGKILL: nothing is given back, and the other has all within the lease's time and a bit."""
    script = textwrap.dedent(CHILD)
    command = [sys.executable, "-c", script, members.where, str(members.folder), members.group]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"6\n"
        members.join()
        wait_until(lambda: len(members.joined[0].share()) == 3)
        child.kill()
        child.wait()
        wait_until(lambda: members.shared(6), seconds_max=10)


def test_a_stopped_member_that_wakes_up_is_a_new_one(members: Members) -> None:
    """SIGSTOP beyond its lease: the others take all; afterwards it gets a fair share again."""
    script = textwrap.dedent(CHILD)
    command = [sys.executable, "-c", script, members.where, str(members.folder), members.group]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            members.join()
            wait_until(lambda: len(members.joined[0].share()) == 3)
            child.send_signal(19)
            wait_until(lambda: members.shared(6), seconds_max=10)
            child.send_signal(18)
            wait_until(lambda: members.sizes() == [3], seconds_max=10)
        finally:
            child.kill()


@pytest.mark.parametrize("text", ["redis://here", "dynamodb:table", "sqlite:", "nothing"])
def test_a_store_that_is_none_is_said(tmp_path: Path, text: str) -> None:
    """The setting names what it may be."""
    with pytest.raises(ConfigError, match="sqlite:PATH"):
        open_store(text, workspace=tmp_path)


@pytest.mark.parametrize(
    "text", ["postgresql://nobody@127.0.0.1:1/none", "sqlite:/proc/none/leases.sqlite"]
)
def test_a_store_out_of_reach_says_what_to_do(tmp_path: Path, text: str) -> None:
    """No database listens there; no file can be made there."""
    with pytest.raises(TickerlakeError, match="what to do"):
        open_store(text, workspace=tmp_path).read("group")


def test_the_embedded_stream_shares_by_leases(tmp_path: Path) -> None:
    """Two workers on one machine have three partitions each; one that is alone has all."""
    settings = StreamsSettings(lease_seconds=1.0)
    streams = [open_stream("embedded:", workspace=tmp_path, settings=settings) for _ in range(2)]
    one, two = (stream.join("bar", "group") for stream in streams)
    wait_until(lambda: one.share() | two.share() == frozenset(SIX) and len(two.share()) == 3)
    alone = streams[0].join("bar", "group", alone=True)
    assert alone.share() == frozenset(SIX)
    for member in (one, two, alone):
        member.leave()
    for stream in streams:
        stream.close()
