"""Settings of a Kafka broker. Imports no client library: the configuration reads this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["KafkaSettings"]

Sasl = Literal["plain", "scram-sha-256", "scram-sha-512", "oauthbearer", "aws-msk-iam"]


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """`[streams.kafka]`: how to reach a Kafka broker, and how topics look that we create."""

    #: Encrypt the connection. `aws-msk-iam` always does.
    tls: bool = False
    #: Certificates (PEM) that the broker's is checked against; null: the system's.
    ca_file: str | None = None
    #: Our own certificate (PEM), where the broker asks for one (mutual TLS).
    certificate_file: str | None = None
    #: The private key (PEM) of `certificate_file`.
    key_file: str | None = None
    #: What opens `key_file`, if anything.
    key_password: str | None = field(default=None, repr=False)
    #: How to log in; null: not at all.
    sasl: Sasl | None = None
    #: The user of `plain` and `scram`.
    user: str | None = None
    #: The password of `user`.
    password: str | None = field(default=None, repr=False)
    #: Where `oauthbearer` gets its tokens (client credentials).
    oauth_token_url: str | None = None
    #: Who we are there.
    oauth_client_id: str | None = None
    #: The secret of `oauth_client_id`.
    oauth_client_secret: str | None = field(default=None, repr=False)
    #: What we ask for there.
    oauth_scope: str | None = None
    #: Or a file that holds a token (JWT); it is read again before the token ends.
    oauth_token_file: str | None = None
    #: The region of an MSK cluster; null: AWS_REGION, AWS_DEFAULT_REGION.
    aws_region: str | None = None
    #: Copies of each partition of a topic that we create; null: the broker's default.
    replication_factor: int | None = None
    #: Copies that must hold a record before it counts as published; null: the broker's default.
    min_insync_replicas: int | None = None
    #: The largest message of a topic that we create; null: 4 MiB for `arrow`, or the broker's.
    message_bytes_max: int | None = None
    #: How messages travel and lie in the broker.
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "lz4"
    #: How long a broker may take to answer before we say that it cannot be reached.
    timeout_seconds: float = 15.0
    #: How long a publish tries, over broken connections and restarting brokers, before it gives up.
    publish_timeout_seconds: float = 60.0
    #: How long to wait for more records before a message is sent.
    linger_seconds: float = 0.005
    #: A worker that is silent for so long has its partitions given to others.
    session_timeout_seconds: float = 6.0
    #: How often a worker says that it is there, and hears that others have come or gone.
    heartbeat_seconds: float = 0.5
    #: The group's protocol: `classic`, or `consumer` (KIP-848), in which the broker sets the times.
    group_protocol: Literal["classic", "consumer"] = "classic"
    #: Memory for records that were fetched ahead, in each reader.
    buffer_bytes_max: int = 16_777_216
    #: Further properties of librdkafka, as they are: no secrets, for these are shown.
    client: Mapping[str, str] = field(default_factory=dict)
