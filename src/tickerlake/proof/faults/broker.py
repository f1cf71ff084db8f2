"""What happens to a Kafka broker, and what is done to topics in it."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, ClassVar

from tickerlake import clock
from tickerlake.proof.base import Fault, Group, MissedError
from tickerlake.proof.faults.data import changed
from tickerlake.proof.ledger import numbers_of
from tickerlake.proof.run import HOLDING
from tickerlake.proof.services import OwnKafka, topic_of
from tickerlake.streams import codec

if TYPE_CHECKING:
    from tickerlake.proof.run import Run
    from tickerlake.testing.faults import Child

__all__ = [
    "Killed",
    "LeadersChange",
    "LogDiskFull",
    "NetworkCut",
    "NetworkSlow",
    "NodesKilled",
    "NotEnoughReplicas",
    "OffsetsWiped",
    "PartitionsAdded",
    "RetentionPassed",
    "TopicRemade",
    "TransactionsAborted",
]

#: A broker that is away too long ends a worker with these; the next one goes on.
AWAY = ("UnreachableError", "StorageError")


class BrokerFault(Fault):
    """A fault of the group: it has the broker to itself."""

    group: ClassVar[Group] = "broker"
    needs = frozenset({"broker"})

    def broker(self, run: Run) -> OwnKafka:
        """The broker that this run may do everything to."""
        owned: OwnKafka = run.power("broker")
        return owned

    def asleep(self, run: Run, what: str, **plan: object) -> Child:
        """A worker that stands still with records in its hands."""
        step = run.random.choice(HOLDING)
        worker = run.paused(step, nth=run.some_time(step), **plan)
        run.struck(f"{what} after {step}", worker)
        return worker


class Killed(BrokerFault):
    """SIGKILL and restart, while one publishes and one delivers."""

    name = "broker-killed"
    what = "the broker dies by SIGKILL and comes back, while records are published and delivered"

    def strike(self, run: Run) -> None:
        """The worker wakes into a world without a broker."""
        run.publish()
        worker = self.asleep(run, "broker killed")
        (node,) = self.broker(run).cluster.nodes
        with run.publishing(150):
            node.kill9()
            worker.signal(signal.SIGCONT)
            clock.sleep(run.random.uniform(0, 0.4))
            node.start()
        run.expect_end(worker, *AWAY)
        run.judge()


class NodesKilled(BrokerFault):
    """One or two of three die."""

    name = "broker-nodes-killed"
    what = "one or two of three brokers die by SIGKILL and come back"
    needs = frozenset({"three brokers"})

    def strike(self, run: Run) -> None:
        """What was acknowledged is on another node, or waits until one comes back."""
        run.publish()
        worker = self.asleep(run, "nodes killed", alone=run.random.random() < 0.5)
        cluster = run.power("three brokers").cluster
        victims = run.random.sample(cluster.nodes, run.random.choice([1, 1, 2]))
        with run.publishing(120):
            for node in victims:
                node.kill9()
            worker.signal(signal.SIGCONT)
            clock.sleep(run.random.uniform(0.2, 1.2))
            for node in victims:
                node.launch()
            cluster.wait()
        run.wake(worker, *AWAY)
        run.judge()


class LeadersChange(BrokerFault):
    """Leaders move to other nodes, one after the other."""

    name = "broker-leaders-change"
    what = "each of three brokers is stopped for a moment in turn, so that all leaders move"
    needs = frozenset({"three brokers"})

    def strike(self, run: Run) -> None:
        """A node that stands still loses its leadership and comes back with old beliefs."""
        run.publish()
        worker = self.asleep(run, "leaders change")
        cluster = run.power("three brokers").cluster
        with run.publishing(120):
            worker.signal(signal.SIGCONT)
            for node in run.random.sample(cluster.nodes, 2):
                node.pause()
                clock.sleep(run.random.uniform(1.1, 1.5))  # longer than a broker's session
                node.resume()
                cluster.wait()
        run.wake(worker, *AWAY)
        run.judge()


class NotEnoughReplicas(BrokerFault):
    """Fewer replicas in sync than `min.insync.replicas`: nobody may publish."""

    name = "broker-min-isr"
    what = "two of three brokers are away, min.insync.replicas is not met: publishing must wait"
    needs = frozenset({"three brokers"})

    def strike(self, run: Run) -> None:
        """What was refused is not acknowledged, and is sent again later."""
        run.publish()
        worker = self.asleep(run, "min.insync.replicas not met")
        cluster = run.power("three brokers").cluster
        away = run.random.sample(cluster.nodes, 2)
        for node in away:
            node.kill9()
        with run.publishing(60):
            worker.signal(signal.SIGCONT)
            clock.sleep(1.5)
            for node in away:
                node.launch()
            cluster.wait()
        run.wake(worker, *AWAY)
        run.judge()


class LogDiskFull(BrokerFault):
    """The disk that holds the log takes nothing any more."""

    name = "broker-disk-full"
    what = "the broker's log disk is full: it stops, and comes back when there is room"

    def strike(self, run: Run) -> None:
        """The broker ends by itself at its first write; with room again it goes on."""
        run.publish()
        worker = self.asleep(run, "log disk full")
        (node,) = self.broker(run).cluster.nodes
        with run.publishing(150):
            with node.full_disk():
                worker.signal(signal.SIGCONT)
                clock.sleep(run.random.uniform(0.2, 0.6))
            node.restart()
        run.expect_end(worker, *AWAY)
        run.judge()


class NetworkSlow(BrokerFault):
    """The network to the broker is slow."""

    name = "broker-network-slow"
    what = "the network to the broker is throttled, each answer comes late"

    def strike(self, run: Run) -> None:
        """A member whose heartbeats come late loses its partitions while it reads."""
        run.publish()
        worker = self.asleep(run, "network throttled", alone=False)
        proxies = [node.proxy for node in self.broker(run).cluster.nodes if node.proxy]
        for proxy in proxies:
            proxy.bytes_per_second = run.random.choice([20_000, 60_000])
            proxy.latency_seconds = run.random.choice([0.01, 0.05])
        with run.publishing(60):
            run.wake(worker, *AWAY)
        for proxy in proxies:
            proxy.heal()
        run.judge()


class NetworkCut(BrokerFault):
    """Connections are reset, answers thrown away, requests cut in their middle."""

    name = "broker-network-cut"
    what = "connections to the broker are reset, cut in mid-request, or lose their answers"

    def strike(self, run: Run) -> None:
        """A producer's acknowledgement that was lost is the hard one: it sends again."""
        run.publish()
        worker = self.asleep(run, "network cut")
        proxies = [node.proxy for node in self.broker(run).cluster.nodes if node.proxy]
        with run.publishing(240):
            worker.signal(signal.SIGCONT)
            for _ in range(run.random.randint(3, 6)):
                proxy = run.random.choice(proxies)
                match run.random.choice(["reset", "requests", "answers", "answers"]):
                    case "reset":
                        proxy.reset()
                    case "requests":
                        proxy.cut("requests", after_bytes=run.random.randint(0, 3000))
                    case _:
                        proxy.cut("answers", after_bytes=run.random.choice([0, 0, 50, 500]))
                clock.sleep(run.random.uniform(0.02, 0.15))
        run.expect_end(worker, *AWAY)
        run.judge()


class TopicRemade(BrokerFault):
    """The topic is deleted and made anew under the same name."""

    name = "broker-topic-remade"
    what = "the topic is deleted and made anew under its name while a worker holds its records"

    def strike(self, run: Run) -> None:
        """What only the old topic had is gone with it; nothing of the new one may be mistaken."""
        run.publish()
        worker = self.asleep(run, "topic made anew")
        run.ledger.given_up |= run.ledger.acked
        run.stream.remove(run.kind)
        run.reopen()
        run.publish(run.random.choice([30, 240, 400]))
        # No judgement here: the old worker tells the group, which knows topics by name alone.
        run.wake(worker, "DataLossError", "NotFoundError", "UnreachableError")


class RetentionPassed(BrokerFault):
    """The broker forgets records that the lake does not have. Nobody may skip them silently."""

    name = "broker-retention-passed"
    what = "retention passes the lake's position: exit 5, until somebody accepts the loss"

    def strike(self, run: Run) -> None:
        """Loud for every worker; accepted, the hole is recorded and all behind it comes."""
        from confluent_kafka import TopicPartition

        run.publish()
        if run.random.random() < 0.5:
            run.dead("8", nth=3)
        run.publish()
        worker = self.asleep(run, "retention passed")
        positions = run.positions()
        ends = {name: run.topic.bounds(name).end or 0 for name in positions}
        behind = [name for name, at in positions.items() if ends[name] > at]
        if not behind:
            run.missed("the worker had committed all")
        chosen = run.random.choice(behind)
        cut = run.random.randint(positions[chosen] + 1, ends[chosen])
        at = positions[chosen]
        while at < cut:
            batch = run.topic.read(chosen, at, records_max=cut - at, wait_seconds=1)
            rows = codec.decode(run.kind, batch.messages)
            gone = rows.filter([place < cut for place in rows.column("_offset").to_pylist()])
            run.ledger.given_up |= set(numbers_of(gone))
            at = batch.next_position
        place = TopicPartition(topic_of(run.place), int(chosen), cut)
        self.broker(run).admin.delete_records([place])[place].result(20)
        worker.signal(signal.SIGKILL)
        run.expect_end(worker, "SIGKILL")
        if run.deliver("RetentionPassedError") is None:
            run.findings.append("a worker went on behind records that retention had dropped")
        run.deliver(accept_loss=True)


class PartitionsAdded(BrokerFault):
    """The topic gets more partitions while a worker runs."""

    name = "broker-partitions-added"
    what = "partitions are added to the topic while workers run"

    def strike(self, run: Run) -> None:
        """Symbols move to other partitions; the new ones begin at their beginning."""
        from confluent_kafka.admin import NewPartitions

        run.repeats = False  # more partitions void the window once
        run.publish()
        worker = self.asleep(run, "partitions added", once=False, alone=run.random.random() < 0.5)
        count = len(run.topic.partitions()) + run.random.randint(1, 4)
        more = NewPartitions(topic_of(run.place), count)
        self.broker(run).admin.create_partitions([more])[topic_of(run.place)].result(20)
        worker.signal(signal.SIGCONT)
        run.wait_for(lambda: len(run.topic.partitions()) == count, "new partitions were not seen")
        run.publish()
        run.wait_for(lambda: run.backlog() < 100, "the delivery of new partitions")
        worker.signal(run.random.choice([signal.SIGKILL, signal.SIGTERM]))
        run.expect_end(worker, "SIGKILL")
        run.judge()


class TransactionsAborted(BrokerFault):
    """A foreign producer writes in transactions, some of which it aborts."""

    name = "broker-transactions-aborted"
    what = "transactions of a foreign producer are committed and aborted: positions have holes"

    def strike(self, run: Run) -> None:
        """Aborted records are no records; a transaction that is open holds back what follows."""
        from confluent_kafka import Producer

        run.publish()
        producer = Producer(
            {
                "bootstrap.servers": self.broker(run).cluster.inside,
                "transactional.id": run.group,
                "transaction.timeout.ms": 10_000,
            }
        )
        producer.init_transactions(20)
        worker = None
        for number in range(run.random.randint(3, 6)):
            commits = run.random.random() < 0.5
            producer.begin_transaction()
            self._produce(run, producer, committed=commits)
            if number == 2:
                try:
                    worker = self.asleep(run, "open transaction")
                except MissedError:
                    producer.abort_transaction(20)  # Nobody reads beyond one that stays open.
                    raise
            (producer.commit_transaction if commits else producer.abort_transaction)(20)
        if worker is not None:
            worker.signal(run.random.choice([signal.SIGCONT, signal.SIGKILL]))
            run.expect_end(worker, "SIGKILL")
        run.judge()

    def _produce(self, run: Run, producer: object, *, committed: bool) -> None:
        for number in run.foreign(run.random.randint(1, 30), acknowledged=committed):
            partition = int(run.random.choice(run.topic.partitions()))
            value = json.dumps({**json.loads(changed()), "provider": number}).encode()
            producer.produce(topic_of(run.place), value, partition=partition)  # type: ignore[attr-defined]
        producer.flush(20)  # type: ignore[attr-defined]


class OffsetsWiped(BrokerFault):
    """The group's offsets in the broker are wiped, or set somewhere else."""

    name = "people-broker-offsets-wiped"
    group = "people"
    what = "the broker's own offsets are wiped or set to nonsense: nobody may care"

    def strike(self, run: Run) -> None:
        """While a worker holds records, and before the next begins."""
        from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition

        run.publish()
        run.dead("8", nth=3)
        run.publish()
        worker = self.asleep(run, "broker offsets wiped")
        admin = self.broker(run).admin
        nonsense = run.random.choice([0, 10_000])
        places = [
            TopicPartition(topic_of(run.place), int(name), min(nonsense, at))
            for name, at in run.positions().items()
        ]
        try:
            if run.random.random() < 0.5:
                admin.delete_consumer_groups([run.group])[run.group].result(20)
            else:
                wanted = ConsumerGroupTopicPartitions(run.group, places)
                admin.alter_consumer_group_offsets([wanted])[run.group].result(20)
        except KafkaException as error:
            run.missed(str(error))
        run.wake(worker)
        run.judge()
