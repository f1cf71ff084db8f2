"""Brokers that ask who we are: what goes in, what stays out, and what is never shown."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from services import KAFKA_VARIABLE
from tickerlake import clock
from tickerlake.config import load
from tickerlake.errors import ConfigError, MissingExtraError, TickerlakeError, UnreachableError
from tickerlake.streams import StreamsSettings, open_stream
from tickerlake.streams.kafka.settings import KafkaSettings
from tickerlake.testing.sample_records import sample_bars
from tickerlake.testing.services.kafka import KafkaCluster
from tickerlake.testing.services.kafka_security import (
    SCRAM_USERS,
    Certificates,
    authorizer,
    oauthbearer,
    plain,
    scram,
    tls,
)
from tickerlake.testing.stream_suite import drain

SECRET = "no-one-may-see-this"  # noqa: S105 - nobody's


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One authority, one broker, one client."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a broker of a test's own goes."""
    import os

    if os.environ.get(KAFKA_VARIABLE):
        pytest.skip(f"starts brokers, and {KAFKA_VARIABLE} names one to use instead")
    return tmp_path / "kafka"


def works(cluster: KafkaCluster, **kafka: Any) -> None:
    """Publish, read, join a group and say how far we are."""
    settings = StreamsSettings(partitions=2, kafka=KafkaSettings(**kafka))
    stream = open_stream(f"kafka://{cluster.bootstrap}/market", workspace=Path(), settings=settings)
    topic = stream.topic("bar")
    before = drain(topic).num_rows
    topic.publish(sample_bars(10))
    assert drain(topic).num_rows == before + 10
    member = stream.join("bar", "tickerlake-test")
    while not member.share():
        clock.sleep(0.02)
    stream.close()


def refused(cluster: KafkaCluster, **kafka: Any) -> str:
    """What the user is told."""
    settings = StreamsSettings(kafka=KafkaSettings(timeout_seconds=5, **kafka))
    stream = open_stream(f"kafka://{cluster.bootstrap}/market", workspace=Path(), settings=settings)
    with pytest.raises(UnreachableError) as caught:
        stream.topic("bar").publish(sample_bars(1))
    assert caught.value.exit_code == 4
    stream.close()
    return str(caught.value)


def test_scram_over_tls(folder: Path, certificates: Certificates) -> None:
    """The right password opens; a wrong one, a wrong authority or missing rights are told apart."""
    extra = scram() + tls(certificates) + authorizer("admin")
    ca = str(certificates.authority)
    with KafkaCluster(folder, protocol="SASL_SSL", extra=extra) as cluster:
        admin: dict[str, Any] = {
            "sasl": "scram-sha-512",
            "user": "admin",
            "password": SCRAM_USERS["admin"],
            "tls": True,
        }
        works(cluster, **admin, ca_file=ca)
        told = refused(cluster, **(admin | {"password": SECRET}), ca_file=ca)
        assert "TICKERLAKE_STREAMS_KAFKA_PASSWORD" in told
        assert SECRET not in told
        assert "`ca_file`" in refused(cluster, **admin)
        alice = admin | {"user": "alice", "password": SCRAM_USERS["alice"]}
        assert "Read, Write, Describe" in refused(cluster, **alice, ca_file=ca)


def test_mutual_tls(folder: Path, certificates: Certificates) -> None:
    """Our own certificate opens; without one nobody comes in."""
    with KafkaCluster(folder, protocol="SSL", extra=tls(certificates, "required")) as cluster:
        authority = {"tls": True, "ca_file": str(certificates.authority)}
        works(
            cluster,
            **authority,
            certificate_file=str(certificates.client_certificate),
            key_file=str(certificates.client_key),
        )
        assert "`certificate_file`" in refused(cluster, **authority)


def test_plain_passwords(folder: Path) -> None:
    """SASL/PLAIN, as many hosted brokers want it; no login at all is refused, too."""
    with KafkaCluster(folder, protocol="SASL_PLAINTEXT", extra=plain({"bob": "b"})) as cluster:
        works(cluster, sasl="plain", user="bob", password="b")  # noqa: S106
        assert "`user`" in refused(cluster, sasl="plain", user="bob", password=SECRET)


def token(seconds: float) -> str:
    """An unsigned token, which the test broker believes."""
    now = clock.real_now().timestamp()
    parts = [{"alg": "none"}, {"sub": "carol", "iat": now, "exp": now + seconds}]
    return ".".join(
        [
            *(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts),
            "",
        ]
    )


@pytest.fixture
def issuer() -> Iterator[str]:
    """Gives a token to who knows the secret."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            expected = base64.b64encode(f"carol:{SECRET}".encode()).decode()
            known = self.headers["Authorization"] == f"Basic {expected}"
            answer = {"access_token": token(600), "token_type": "bearer"} if known else {}
            body = json.dumps(answer).encode()
            self.send_response(200 if known else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/token"
    server.shutdown()
    thread.join()
    server.server_close()


def test_tokens(folder: Path, issuer: str) -> None:
    """OAUTHBEARER with a token from a file, and with one that an issuer gives for a secret."""
    file = folder.parent / "token"
    file.write_text(token(600))
    with KafkaCluster(folder, protocol="SASL_PLAINTEXT", extra=oauthbearer()) as cluster:
        works(cluster, sasl="oauthbearer", oauth_token_file=str(file))
        works(
            cluster,
            sasl="oauthbearer",
            oauth_token_url=issuer,
            oauth_client_id="carol",
            oauth_client_secret=SECRET,
        )


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"sasl": "plain", "user": "bob"}, "TICKERLAKE_STREAMS_KAFKA_PASSWORD"),
        ({"sasl": "scram-sha-512", "password": SECRET}, "user in"),
        ({"sasl": "oauthbearer", "oauth_client_id": "x"}, "oauth_token_url"),
        ({"ca_file": "ca.crt"}, "tls = true"),
        ({"tls": True, "ca_file": "/not/there.crt"}, "PEM"),
        ({"client": {"sasl.password": SECRET}}, "settings of their own"),
        ({"client": {"acks": "1"}}, "acks"),
    ],
)
def test_settings_that_contradict_each_other_are_told_before_anything_is_tried(
    settings: dict[str, Any], missing: str
) -> None:
    """Nobody listens there: what is wrong with the settings comes first, with exit code 2."""
    with pytest.raises(ConfigError, match=r"streams\.kafka") as caught:
        open_stream(
            "kafka://127.0.0.1:1/market",
            workspace=Path(),
            settings=StreamsSettings(kafka=KafkaSettings(**settings)),
        )
    assert missing in str(caught.value)
    assert SECRET not in str(caught.value)


def test_iam_needs_a_region_and_signs_with_what_aws_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a region: wrong use. With one, the broker's client asks for a token of AWS's form."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    settings = KafkaSettings(sasl="aws-msk-iam", timeout_seconds=1)
    with pytest.raises(ConfigError, match="AWS_REGION"):
        open_stream("kafka://127.0.0.1:1/m", workspace=Path(), settings=_streams(settings))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    stream = open_stream("kafka://127.0.0.1:1/m", workspace=Path(), settings=_streams(settings))
    with pytest.raises(UnreachableError, match=r"within 1 s|Connection refused"):
        stream.kinds()
    stream.close()


def _streams(kafka: KafkaSettings) -> StreamsSettings:
    return StreamsSettings(kafka=kafka)


def test_secrets_come_from_files_and_variables_and_are_never_shown(tmp_path: Path) -> None:
    """Neither `config show`, nor `repr`, nor the file may hold them."""
    (tmp_path / "password").write_text(SECRET + "\n")
    (tmp_path / "tickerlake.toml").write_text(
        '[streams.kafka]\nsasl = "plain"\nuser = "bob"\npassword_file = "password"\n'
    )
    variables = {"TICKERLAKE_STREAMS_KAFKA_OAUTH_CLIENT_SECRET": SECRET}
    config = load(tmp_path, environment=variables)
    kafka = config.settings.streams.kafka
    assert kafka.password == kafka.oauth_client_secret == SECRET
    assert SECRET not in repr(config.settings.streams)
    assert SECRET not in str(list(config.shown()))
    (tmp_path / "tickerlake.toml").write_text(f'[streams.kafka]\npassword = "{SECRET}"\n')
    with pytest.raises(ConfigError, match="password_file") as caught:
        load(tmp_path, environment={})
    assert SECRET not in str(caught.value)


def test_without_the_client_library_the_error_names_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`pip install 'tickerlake[kafka]'`."""
    monkeypatch.setitem(__import__("sys").modules, "confluent_kafka", None)
    with pytest.raises(MissingExtraError, match=r"tickerlake\[kafka\]") as caught:
        open_stream("kafka://127.0.0.1:9092/m", workspace=Path(), settings=StreamsSettings())
    assert isinstance(caught.value, TickerlakeError)
