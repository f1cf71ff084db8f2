"""The Kafka that other tests stand on: it keeps what it acknowledged, whatever is done to it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from services import Kafka
from tickerlake.testing.services import kafka_security
from tickerlake.testing.services.kafka import KafkaCluster
from tickerlake.testing.services.process import wait_until

pytestmark = pytest.mark.slow
SECONDS_MAX = 30
#: What is sent again does not show twice.
ONCE = {"enable.idempotence": True}


@contextlib.contextmanager
def producing_to(bootstrap: str, **settings: object) -> Iterator[Producer]:
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "linger.ms": 0,
            "log_level": 0,
            "reconnect.backoff.max.ms": 100,
            **settings,
        }
    )
    yield producer
    assert producer.flush(SECONDS_MAX) == 0


def produced(bootstrap: str, topic: str, count: int, **settings: object) -> None:
    """Produce that many records; all are acknowledged at the end."""
    failed: list[object] = []
    with producing_to(bootstrap, **settings) as producer:
        for number in range(count):
            producer.produce(
                topic,
                str(number).encode(),
                on_delivery=lambda error, _: failed.append(error) if error else None,
            )
    assert failed == []


def end_of(bootstrap: str, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "end", "log_level": 0})
    try:
        return consumer.get_watermark_offsets(TopicPartition(topic, 0), SECONDS_MAX)[1]
    finally:
        consumer.close()


def test_a_broker_keeps_what_it_acknowledged_over_a_kill(kafka: Kafka) -> None:
    """Records produced before and across a SIGKILL are all there after the restart, once."""
    cluster = kafka.ours()
    topic = cluster.create_topic("kept")
    produced(kafka.bootstrap, topic, 100)
    restart = threading.Thread(target=cluster.restart)
    cluster.kill9()
    restart.start()
    produced(kafka.bootstrap, topic, 100, **ONCE)
    restart.join()
    assert end_of(kafka.bootstrap, topic) == 200


def test_a_paused_broker_answers_when_it_goes_on(kafka: Kafka) -> None:
    """SIGSTOP holds a producer up; SIGCONT lets everything through."""
    cluster = kafka.ours()
    topic = cluster.create_topic("paused")
    cluster.nodes[0].pause()
    with producing_to(kafka.bootstrap) as producer:
        producer.produce(topic, b"waits")
        assert producer.flush(0.5) == 1
        cluster.nodes[0].resume()
    cluster.wait()
    assert end_of(kafka.bootstrap, topic) == 1


def test_a_broker_whose_disk_is_full_goes_down_and_keeps_what_it_acknowledged(
    tmp_path: Path,
) -> None:
    """A write that fails takes the only log folder away, so the broker ends; nothing is lost."""
    with KafkaCluster(tmp_path / "kafka") as cluster:
        topic = cluster.create_topic("full")
        produced(cluster.bootstrap, topic, 10)
        with cluster.nodes[0].full_disk(), producing_to(cluster.bootstrap, **ONCE) as producer:
            producer.produce(topic, b"no space")
            wait_until(lambda: producer.poll(0) >= 0 and not cluster.nodes[0].running)
            cluster.restart()
        assert end_of(cluster.bootstrap, topic) == 11


def test_one_node_of_three_may_die(kafka_cluster3: KafkaCluster) -> None:
    """With two of three replicas alive a producer goes on, and the dead node comes back."""
    topic = kafka_cluster3.create_topic("three")
    kafka_cluster3.nodes[0].kill9()
    produced(kafka_cluster3.bootstrap, topic, 100, **ONCE)
    kafka_cluster3.nodes[0].restart()
    kafka_cluster3.wait()
    assert end_of(kafka_cluster3.bootstrap, topic) == 100


def test_a_cluster_behind_proxies_advertises_them(tmp_path: Path) -> None:
    """Clients stay on the proxy after the first answer, so that a fault there strikes them."""
    with KafkaCluster(tmp_path / "kafka", proxied=True) as cluster:
        topic = cluster.create_topic("proxied")
        proxy = cluster.nodes[0].proxy
        assert proxy is not None
        with producing_to(cluster.bootstrap) as producer:
            producer.produce(topic, b"before")
            assert producer.flush(SECONDS_MAX) == 0
            proxy.refuse()
            producer.produce(topic, b"held up")
            assert producer.flush(0.5) == 1
            assert end_of(cluster.inside, topic) == 1
            proxy.accept()
        assert end_of(cluster.inside, topic) == 2
        assert proxy.struck > 0


SECURED = {
    "scram": ("SASL_PLAINTEXT", "SCRAM-SHA-512", kafka_security.scram()),
    "plain": ("SASL_PLAINTEXT", "PLAIN", kafka_security.plain({"admin": "admin-secret"})),
}


@pytest.mark.parametrize("kind", SECURED)
def test_a_broker_with_passwords_knows_its_users(tmp_path: Path, kind: str) -> None:
    """The right password gets in, a wrong one does not."""
    protocol, mechanism, extra = SECURED[kind]
    with KafkaCluster(tmp_path / "kafka", protocol=protocol, extra=extra) as cluster:
        topic = cluster.create_topic("secured")
        user = {
            "security.protocol": protocol,
            "sasl.mechanism": mechanism,
            "sasl.username": "admin",
            "sasl.password": "admin-secret",
        }
        produced(cluster.bootstrap, topic, 1, **user)
        refused: list[object] = []
        producer = Producer(
            {
                "bootstrap.servers": cluster.bootstrap,
                **user,
                "sasl.password": "guessed",
                "error_cb": refused.append,
                "log_level": 0,
            }
        )
        wait_until(lambda: bool(producer.poll(0.1) or refused))
        assert "uthentication" in str(refused[0])
        assert end_of(cluster.inside, topic) == 1


def test_a_broker_with_mutual_tls_wants_a_certificate(tmp_path: Path) -> None:
    """A client with a certificate of the same authority gets in."""
    certificates = kafka_security.Certificates(tmp_path / "certificates")
    extra = kafka_security.tls(certificates, client="required")
    with KafkaCluster(tmp_path / "kafka", protocol="SSL", extra=extra) as cluster:
        topic = cluster.create_topic("secured")
        user = {
            "security.protocol": "SSL",
            "ssl.ca.location": str(certificates.authority),
            "ssl.certificate.location": str(certificates.client_certificate),
            "ssl.key.location": str(certificates.client_key),
        }
        produced(cluster.bootstrap, topic, 1, **user)
        assert end_of(cluster.inside, topic) == 1
