"""Faults of Kinesis behind the HTTP proxy, as boto3 sees them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from tickerlake.testing.services.http_proxy import HttpProxy, lose_answer
from tickerlake.testing.services.kinesis import Kinesis
from tickerlake.testing.services.kinesis_faults import EXPIRED, THROTTLED, fail, fail_records


@pytest.fixture
def http(kinesis: Kinesis) -> Iterator[HttpProxy]:
    with HttpProxy(kinesis.port) as between:
        yield between


def payloads(kinesis: Kinesis, stream: str) -> list[bytes]:
    """All records of the stream's only shard."""
    client = kinesis.client()
    shard = client.list_shards(StreamName=stream)["Shards"][0]["ShardId"]
    iterator = client.get_shard_iterator(
        StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    return [record["Data"] for record in client.get_records(ShardIterator=iterator)["Records"]]


def test_put_records_is_done_in_part(kinesis: Kinesis, http: HttpProxy) -> None:
    """Each second record is refused by name, and only the others are in the shard."""
    client = kinesis.client(port=http.port)
    client.create_stream(StreamName="partly", ShardCount=1)
    fault = http.add("PutRecords", fail_records(every=2))
    records = [{"Data": str(n).encode(), "PartitionKey": "A"} for n in range(5)]
    answer = client.put_records(StreamName="partly", Records=records)
    assert fault.struck == 1
    assert answer["FailedRecordCount"] == 3
    refused = [n for n, result in enumerate(answer["Records"]) if "ErrorCode" in result]
    assert refused == [0, 2, 4]
    assert payloads(kinesis, "partly") == [b"1", b"3"]


def test_calls_fail_by_the_name_of_their_exception(kinesis: Kinesis, http: HttpProxy) -> None:
    """Throttled and expired: the exceptions that boto3 raises for the real ones."""
    client = kinesis.client(port=http.port)
    http.add("GetRecords", fail(EXPIRED))
    http.add("ListStreams", fail(THROTTLED), times=None)
    with pytest.raises(client.exceptions.ExpiredIteratorException):
        client.get_records(ShardIterator="any")
    with pytest.raises(ClientError, match=THROTTLED):
        client.list_streams()


def test_a_put_whose_answer_is_lost_is_sent_again_by_the_sdk(
    kinesis: Kinesis, http: HttpProxy
) -> None:
    """Nobody is told of an error, and the record is there twice: a producer's repeat."""
    client = kinesis.client(port=http.port)
    client.create_stream(StreamName="twice", ShardCount=1)
    http.add("PutRecord$", lose_answer)
    client.put_record(StreamName="twice", Data=b"once", PartitionKey="A")
    assert payloads(kinesis, "twice") == [b"once", b"once"]
