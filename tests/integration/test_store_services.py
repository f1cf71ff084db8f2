"""The stores and emulators that other tests stand on: they answer, and survive a kill."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg
import pytest
from botocore.exceptions import ClientError

from tickerlake.testing.services.kinesis import Kinesis
from tickerlake.testing.services.postgres import Postgres
from tickerlake.testing.services.seaweed import BUCKET, Seaweed
from tickerlake.testing.services.tcp_proxy import TcpProxy

# --- PostgreSQL


def test_postgres_keeps_what_was_committed_over_a_kill(postgres: Postgres) -> None:
    """A table made before a SIGKILL of all its processes is there after the restart."""
    url = postgres.create_database("kept")
    with psycopg.connect(url) as connection:
        connection.execute("create table t as select 1 as n")
    postgres.kill9()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    postgres.restart()
    with psycopg.connect(url) as connection:
        assert connection.execute("select n from t").fetchall() == [(1,)]


def test_postgres_on_a_full_disk_refuses_and_recovers(postgres: Postgres) -> None:
    """A commit that finds no space fails; with space again the next one lands."""
    url = postgres.create_database("full")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table t (n text)")
        insert = "insert into t select repeat('x', 1000) from generate_series(1, 1000)"
        with postgres.full_disk(), pytest.raises(psycopg.Error):
            connection.execute(insert)
        postgres.restart()
    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*) from t").fetchone() == (0,)
        connection.execute(insert)
        assert connection.execute("select count(*) from t").fetchone() == (1000,)


def test_a_paused_postgres_answers_when_it_goes_on(postgres: Postgres) -> None:
    """SIGSTOP reaches the processes of open connections, too."""
    answered = threading.Event()
    with psycopg.connect(postgres.url()) as connection:
        postgres.pause()

        def ask() -> None:
            connection.execute("select 1")
            answered.set()

        asking = threading.Thread(target=ask)
        asking.start()
        assert not answered.wait(0.3)
        postgres.resume()
        assert answered.wait(30)
        asking.join()


@pytest.mark.parametrize("applied", [True, False])
def test_a_commit_whose_answer_is_lost_is_there_or_not_as_told(
    postgres: Postgres, applied: bool
) -> None:
    """The client sees the same dead connection, be its commit applied or not."""
    url = postgres.create_database(f"lost_{applied}".lower())
    with psycopg.connect(url) as connection:
        connection.execute("create table t (n int)")
    with TcpProxy(postgres.port) as proxy:
        through = psycopg.connect(url.replace(str(postgres.port), str(proxy.port)))
        through.execute("insert into t values (1)")
        proxy.cut_at(b"COMMIT", applied=applied)
        with pytest.raises(psycopg.OperationalError):
            through.commit()
        through.close()
        assert proxy.struck == 1
    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*) from t").fetchone() == (int(applied),)


# --- SeaweedFS


def test_seaweed_keeps_objects_and_warehouses_over_a_kill(
    seaweed: Seaweed, rest_catalog: str
) -> None:
    """An object and a namespace that were acknowledged survive a SIGKILL."""
    from pyiceberg.catalog import load_catalog

    seaweed.s3().put_object(Bucket=BUCKET, Key="kept", Body=b"bytes")
    settings = {"uri": seaweed.rest_url, "warehouse": rest_catalog, **seaweed.rest_properties()}
    load_catalog("r", type="rest", **settings).create_namespace("kept")
    seaweed.restart()
    assert seaweed.s3().get_object(Bucket=BUCKET, Key="kept")["Body"].read() == b"bytes"
    assert load_catalog("r", type="rest", **settings).list_namespaces() == [("kept",)]


def test_seaweed_lets_one_of_two_rivals_write(seaweed: Seaweed) -> None:
    """A conditional PUT of a key that is there is refused."""
    seaweed.s3().put_object(Bucket=BUCKET, Key="once", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        seaweed.s3().put_object(Bucket=BUCKET, Key="once", Body=b"second", IfNoneMatch="*")


# --- Kinesis


def test_kinesis_gives_back_what_was_put(kinesis: Kinesis) -> None:
    """A record comes back from its shard's beginning, and a split shard names its children."""
    client = kinesis.client()
    client.create_stream(StreamName="kept", ShardCount=1)
    client.put_record(StreamName="kept", Data=b"one", PartitionKey="A")
    shard = client.list_shards(StreamName="kept")["Shards"][0]["ShardId"]
    iterator = client.get_shard_iterator(
        StreamName="kept", ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    answer = client.get_records(ShardIterator=iterator)
    assert [record["Data"] for record in answer["Records"]] == [b"one"]
    client.split_shard(StreamName="kept", ShardToSplit=shard, NewStartingHashKey=str(2**127))
    children = [s for s in client.list_shards(StreamName="kept")["Shards"] if "ParentShardId" in s]
    assert len(children) == 2


@pytest.mark.parametrize("service", ["postgres", "seaweed", "kinesis"])
def test_nothing_listens_beyond_this_machine(service: str, request: pytest.FixtureRequest) -> None:
    """Every socket of a service binds 127.0.0.1."""
    running = request.getfixturevalue(service)
    inodes = {
        target[len("socket:[") : -1]
        for link in Path(f"/proc/{running.pid}/fd").iterdir()
        if (target := str(link.readlink())).startswith("socket:[")
    }
    listening = [
        fields[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if (fields := line.split())[9] in inodes and fields[3] == "0A"
    ]
    assert listening
    assert all(address.startswith("0100007F:") for address in listening)
