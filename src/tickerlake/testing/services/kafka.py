"""A real Apache Kafka (KRaft, one or three nodes) on loopback.

A fresh node answers after a second or so: its storage is copied from a formatted template and its
classes come from an archive, both made once by `make services`. The time-outs between brokers are
short, so that a node that was killed may register again at once.
"""

from __future__ import annotations

import base64
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tickerlake.errors import UnreachableError
from tickerlake.testing.services.installed import installed
from tickerlake.testing.services.process import LOOPBACK, Service, free_ports, wait_until
from tickerlake.testing.services.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

__all__ = ["KafkaCluster", "KafkaNode", "prepare"]

_SHORT_RUN: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_LOGGING: Final = Path(__file__).with_name("log4j2.properties")
_ARCHIVE: Final = "broker.jsa"
_PROPERTIES: Final = """process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=CLIENT://127.0.0.1:{port},INSIDE://127.0.0.1:{inside},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=CLIENT://127.0.0.1:{advertised},INSIDE://127.0.0.1:{inside}
controller.listener.names=CONTROLLER
inter.broker.listener.name=INSIDE
listener.security.protocol.map=CLIENT:{protocol},INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.num.partitions=4
offsets.topic.replication.factor={replicas}
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=200
group.consumer.heartbeat.interval.ms=200
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
log.retention.check.interval.ms=1000
log.cleaner.backoff.ms=200
log.index.size.max.bytes=1048576
"""


class KafkaNode(Service):
    """One broker, which is a controller too."""

    def __init__(self, folder: Path, number: int, *, heap: str, proxied: bool) -> None:
        super().__init__(folder)
        self.number = number
        self.name = f"Kafka's node {number}"
        self.heap = heap
        self.port, self.inside_port, self.controller_port = free_ports(3, owner=self)
        self.proxy = TcpProxy(self.port) if proxied else None
        self.jvm: Sequence[str] = (*_SHORT_RUN, f"-XX:SharedArchiveFile={_kafka() / _ARCHIVE}")

    @property
    def data(self) -> Path:
        """Where its logs are."""
        return self.folder / "data"

    @property
    def bootstrap(self) -> str:
        """Its address for clients: the proxy's, if it stands behind one."""
        return f"{LOOPBACK}:{self.proxy.port if self.proxy else self.port}"

    def command(self) -> Sequence[str]:
        """The broker in its own JVM."""
        properties = str(self.folder / "server.properties")
        return [*_java(f"-Xmx{self.heap}", *self.jvm), "kafka.Kafka", properties]

    def answering(self) -> bool:
        """Whether this very node answers: the others may list a dead one for a second."""
        return self.number in _brokers_listed(f"{LOOPBACK}:{self.inside_port}")


class KafkaCluster:
    """One or three nodes.

    Clients use `bootstrap`. `inside` is a second, plain listener: brokers talk to each other on
    it, and tests look through it at what a faulty network or security hides from clients.
    Whoever comes in there is a super user.

    Args:
        folder: Where the nodes' folders go; must not exist yet.
        nodes: 1, or 3 with three replicas and `min.insync.replicas` 2.
        protocol: Of the listener for clients: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        extra: Further lines of `server.properties`; see `kafka_security`.
        proxied: Put a `TcpProxy` in front of each node: `cluster.nodes[0].proxy`.
        heap: Of each JVM.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 1,
        protocol: str = "PLAINTEXT",
        extra: str = "",
        proxied: bool = False,
        heap: str = "384m",
    ) -> None:
        self.folder = folder
        self.id = _random_id()
        self.nodes = [
            KafkaNode(folder / f"node{number}", number, heap=heap, proxied=proxied)
            for number in range(1, nodes + 1)
        ]
        voters = ",".join(f"{n.number}@{LOOPBACK}:{n.controller_port}" for n in self.nodes)
        for node in self.nodes:
            self._write(node, voters, protocol, extra)

    @property
    def bootstrap(self) -> str:
        """`host:port` of every node, with commas between."""
        return ",".join(node.bootstrap for node in self.nodes)

    @property
    def inside(self) -> str:
        """The same for the plain listener that no proxy and no security stands before."""
        return ",".join(f"{LOOPBACK}:{node.inside_port}" for node in self.nodes)

    def start(self) -> Self:
        """Start all nodes at once, from the template, and wait until each is registered."""
        for node in self.nodes:
            if not node.data.exists():
                shutil.copytree(_kafka() / "template", node.data)
                (node.data / "meta.properties").write_text(
                    f"version=1\ncluster.id={self.id}\nnode.id={node.number}\n"
                    f"directory.id={_random_id()}\n"
                )
            if node.proxy:
                node.proxy.start()
            node.launch()
        return self.wait()

    def wait(self) -> Self:
        """Wait until all nodes that run list each other.

        Raises:
            UnreachableError: One ended or did not answer in time; holds the end of its log.
        """
        for node in self.nodes:
            if node.running:
                node.wait()
        numbers = {node.number for node in self.nodes if node.running}
        wait_until(lambda: numbers <= _brokers_listed(self.inside), seconds_max=60)
        return self

    def admin(self) -> AdminClient:
        """An admin client of the plain listener."""
        from confluent_kafka.admin import AdminClient

        return AdminClient(_patient(self.inside))

    def create_topic(self, name: str, *, partitions: int = 1, **settings: str) -> str:
        """Make a topic with the cluster's replication, and return its name.

        Settings are the broker's own, with `_` for `.`: `retention_ms="1000"`.
        """
        from confluent_kafka.cimpl import NewTopic

        config = {key.replace("_", "."): value for key, value in settings.items()}
        admin = self.admin()  # held: what it was asked is given up once it is gone
        admin.create_topics([NewTopic(name, partitions, config=config)])[name].result(60)
        return name

    def stop(self) -> None:
        """End every node in good order, all at once: the last could not do so without a quorum."""
        for node in self.nodes:
            node.terminate()
        for node in self.nodes:
            node.stop()

    def kill9(self) -> None:
        """SIGKILL every node."""
        for node in self.nodes:
            node.kill9()

    def restart(self) -> Self:
        """Kill what runs, and start all nodes again on their data."""
        self.kill9()
        return self.start()

    def heal(self) -> None:
        """Let all nodes run, and take every proxy's faults back."""
        dead = [node for node in self.nodes if not node.running]
        for node in self.nodes:
            if node.proxy:
                node.proxy.heal()
            if node in dead:
                node.launch()
            else:
                node.resume()
        if dead:
            self.wait()

    def destroy(self) -> None:
        """Kill every node and remove the folder."""
        self.kill9()
        for node in self.nodes:
            if node.proxy:
                node.proxy.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.destroy()

    def _write(self, node: KafkaNode, voters: str, protocol: str, extra: str) -> None:
        node.folder.mkdir(parents=True)
        lines = _PROPERTIES.format(
            id=node.number,
            voters=voters,
            port=node.port,
            inside=node.inside_port,
            controller=node.controller_port,
            advertised=node.proxy.port if node.proxy else node.port,
            protocol=protocol,
            data=node.data,
            replicas=min(3, len(self.nodes)),
            in_sync=2 if len(self.nodes) >= 3 else 1,
        )
        (node.folder / "server.properties").write_text(lines + extra)


def prepare(scram_users: Mapping[str, str]) -> None:
    """Make the storage template and the archive of classes, once per installation.

    Raises:
        UnreachableError: The storage tool or the broker failed; holds what it said.
    """
    import subprocess

    kafka = _kafka()
    with tempfile.TemporaryDirectory() as folder:
        cluster = KafkaCluster(Path(folder) / "kafka")
        node = cluster.nodes[0]
        users = [f"SCRAM-SHA-512=[name={n},password={p}]" for n, p in scram_users.items()]
        formatted = subprocess.run(
            [
                *_java(*_SHORT_RUN),
                *("kafka.tools.StorageTool", "format", "-t", cluster.id),
                *("-c", str(node.folder / "server.properties")),
                *(word for user in users for word in ("--add-scram", user)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if formatted.returncode:
            raise UnreachableError("Kafka's storage tool failed.", found=formatted.stderr[-2000:])
        shutil.rmtree(kafka / "template", ignore_errors=True)
        shutil.copytree(node.data, kafka / "template")
        node.jvm = (*_SHORT_RUN, f"-XX:ArchiveClassesAtExit={kafka / _ARCHIVE}")
        node.launch()
        wait_until(lambda: "Kafka Server started" in node.printed() or not node.running)
        node.stop()  # the archive is written at its orderly end
        if not (kafka / _ARCHIVE).exists():
            raise UnreachableError("Kafka's classes were not archived.", found=node.printed())


def _kafka() -> Path:
    return installed("kafka")


def _java(*options: str) -> list[str]:
    # In a fixed order: the archive of classes is good for this very class path.
    jars = ":".join(sorted(str(jar) for jar in (_kafka() / "jars").glob("*.jar")))
    java = shutil.which("java") or "java"
    return [java, *options, f"-Dlog4j2.configurationFile={_LOGGING}", "-cp", jars]


def _random_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _patient(bootstrap: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": bootstrap,
        "log_level": 0,
        "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 100,
    }


def _brokers_listed(bootstrap: str) -> set[int]:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    try:
        return set(AdminClient(_patient(bootstrap)).list_topics(timeout=0.5).brokers)
    except KafkaException:
        return set()


if __name__ == "__main__":
    from tickerlake.testing.services.kafka_security import SCRAM_USERS

    os.environ.setdefault("LC_ALL", "C.UTF-8")
    prepare(SCRAM_USERS)
    sys.stdout.write("Kafka's template and class archive are made\n")
