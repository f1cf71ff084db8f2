"""Enhanced fan-out: Kinesis pushes a shard's records to a registered consumer, at its own rate.

A consumer has one subscription a shard. It belongs to the reader that asked first; others who stand
elsewhere in the shard poll. One that nobody has asked for a while is given to who asks next.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from tickerlake import clock
from tickerlake.errors import TickerlakeError, UnreachableError
from tickerlake.streams.aws import RefusedError, Reply, Service
from tickerlake.streams.kinesis.places import Place
from tickerlake.streams.kinesis.polling import Answer, Polling, start_of
from tickerlake.streams.kinesis.shards import Shards

__all__ = ["FanOut"]

#: Stands for an iterator: what comes next is pushed.
_PUSHED: Final = "pushed"
#: Answers that wait to be taken; more stay in the connection, and then with Kinesis.
_WAITING_MAX: Final = 4
#: A new subscription says something within this, be it that there is nothing.
_FIRST_SECONDS_MAX: Final = 10.0
#: A subscription that nobody asked for so long is its reader's no more.
_IDLE_SECONDS_MAX: Final = 30.0
_PAUSE_SECONDS: Final = 0.5
_PASSING: Final = frozenset({"ResourceInUseException", "InternalFailureException"})


class FanOut:
    """Answers that were pushed, and polled ones for readers who stand elsewhere.

    Args:
        service: Kinesis.
        polling: For the others.
        stream_arn: The stream.
        shards: Its shards.
        consumer: The consumer's name; it is registered if it is not yet.
    """

    def __init__(
        self, service: Service, polling: Polling, stream_arn: str, shards: Shards, consumer: str
    ) -> None:
        self._service = service
        self._polling = polling
        self._stream_arn = stream_arn
        self._shards = shards
        self._consumer = consumer
        self._consumer_arn = ""
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._feeds: dict[str, _Feed] = {}

    def ask(self, partition: str, place: Place, iterator: str | None, records_max: int) -> Answer:
        """The next answer that was pushed for this place; an empty one if none has come."""
        self._news.clear()
        with self._lock:
            feed = self._feeds.get(partition)
            if feed is not None and feed.is_idle:
                feed.close()
                feed = None
            if feed is None:
                iterator = _PUSHED
                feed = _Feed(
                    self._service,
                    self._registered(),
                    self._shards.named(partition).id,
                    place,
                    self._news.set,
                )
                self._feeds[partition] = feed
        if iterator == _PUSHED:
            iterator = None
            pushed = feed.next(place)
            if pushed is not None:
                return pushed
        return self._polling.ask(partition, place, iterator, records_max)

    def rest(self, seconds: float) -> None:
        """Until something is pushed for any shard."""
        self._news.wait(min(seconds, _PAUSE_SECONDS))

    def close(self) -> None:
        """End all subscriptions."""
        with self._lock:
            for feed in self._feeds.values():
                feed.close()
            self._feeds.clear()

    def _registered(self) -> str:
        """The consumer's ARN, once it is active."""
        deadline = clock.monotonic_seconds() + 60
        named = {"StreamARN": self._stream_arn, "ConsumerName": self._consumer}
        while not self._consumer_arn:
            try:
                found = self._service.ask("describe_stream_consumer", **named)
                description = found["ConsumerDescription"]
                if description["ConsumerStatus"] == "ACTIVE":
                    self._consumer_arn = description["ConsumerARN"]
                    break
            except RefusedError as error:
                if error.code != "ResourceNotFoundException":
                    raise
                with contextlib.suppress(RefusedError):  # Somebody else was faster.
                    self._service.ask("register_stream_consumer", **named)
            if clock.monotonic_seconds() > deadline:
                raise UnreachableError(
                    f"The consumer {self._consumer} of {self._stream_arn} does not become active.",
                    todo="look at it in the AWS console, or take out streams.kinesis.fan_out",
                )
            clock.sleep(_PAUSE_SECONDS)
        return self._consumer_arn


class _Feed:
    """One shard's subscription, made anew whenever Kinesis ends it (after five minutes)."""

    def __init__(
        self,
        service: Service,
        consumer_arn: str,
        shard_id: str,
        place: Place,
        told: Callable[[], None],
    ) -> None:
        self._service = service
        self._subscription = {"ConsumerARN": consumer_arn, "ShardId": shard_id}
        self._told = told
        self._answers: queue.Queue[Answer | TickerlakeError] = queue.Queue(_WAITING_MAX)
        self._lock = threading.Lock()
        self._last: Answer | None = None
        #: Behind which record the next answer comes.
        self._after = place.sequence
        self._asked_at = clock.monotonic_seconds()
        self._closed = threading.Event()
        kind, details = start_of(place)
        self._start: dict[str, object] = {"Type": kind, **details}
        threading.Thread(target=self._run, name=f"fan-out-{shard_id}", daemon=True).start()

    @property
    def is_idle(self) -> bool:
        """Whether its reader has gone."""
        return clock.monotonic_seconds() - self._asked_at > _IDLE_SECONDS_MAX

    def next(self, place: Place) -> Answer | None:
        """What was pushed next; without records if nothing was, as of the last push.

        Null for one who does not stand where the last answer ended: an answer is given once, and
        whoever got another one first would leave a hole to the others.
        """
        with self._lock:
            if place.sequence != self._after:
                return None
            self._asked_at = clock.monotonic_seconds()
            try:
                # Only the first push says whether there is anything at all.
                wait_seconds = _FIRST_SECONDS_MAX if self._last is None else 0.001
                found = self._answers.get(timeout=wait_seconds)
            except queue.Empty:
                # Before the first push nobody knows whether this is the end.
                last = self._last or _pushed([], 0.0, behind_seconds=1.0)
                return replace(last, records=[], asked_at=clock.monotonic_seconds())
            finally:
                self._asked_at = clock.monotonic_seconds()
            if isinstance(found, TickerlakeError):
                self._asked_at = float("-inf")  # Whoever asks next begins a new subscription.
                raise found
            self._last = found
            if found.records:
                self._after = found.records[-1]["SequenceNumber"]
            return replace(found, is_cut=not self._answers.empty())

    def close(self) -> None:
        """End the subscription; its thread hangs up at the next push, in five seconds at most."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._follow()
            except RefusedError as error:
                # Its earlier subscription has a few seconds to go, or Kinesis some trouble.
                if error.code not in _PASSING:
                    self._put(error)
                    return
            except TickerlakeError as error:
                self._put(error)
                return
            self._closed.wait(_PAUSE_SECONDS)

    def _follow(self) -> None:
        reply = self._service.ask(
            "subscribe_to_shard", StartingPosition=self._start, **self._subscription
        )
        with contextlib.closing(reply["EventStream"]) as events:
            self._pass_on(events)

    def _pass_on(self, events: Any) -> None:  # noqa: ANN401 - boto3 has no types
        for event in self._service.events(events):
            if self._closed.is_set():
                return
            pushed: Reply = event["SubscribeToShardEvent"]
            going_on = pushed.get("ContinuationSequenceNumber")
            behind_seconds = pushed.get("MillisBehindLatest", 0) / 1000
            answer = _pushed(
                pushed["Records"], self._service.now_seconds(), behind_seconds=behind_seconds
            )
            if not going_on:
                self._put(replace(answer, iterator=None))
                self._closed.set()
                return
            self._start = {"Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": going_on}
            self._put(answer)

    def _put(self, answer: Answer | TickerlakeError) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._answers.put(answer, timeout=_PAUSE_SECONDS)
                self._told()
                return


def _pushed(records: list[Reply], service_seconds: float, *, behind_seconds: float) -> Answer:
    now = clock.monotonic_seconds()
    return Answer(records, _PUSHED, float("inf"), behind_seconds, service_seconds, now)
