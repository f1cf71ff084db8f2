"""What every client of a broker is told: addresses, encryption, login.

Secrets go from the settings into the client library and nowhere else: no message, log or `repr` of
ours holds what this file makes.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tickerlake import clock
from tickerlake.errors import ConfigError, MissingExtraError
from tickerlake.streams.kafka.faults import Troubles
from tickerlake.streams.kafka.settings import KafkaSettings

__all__ = ["client_config", "require_client"]

#: A token file whose token does not say when it ends is read again after this.
_TOKEN_SECONDS: Final = 300.0

_OURS: Final = frozenset({"bootstrap.servers", "enable.idempotence", "acks", "isolation.level"})

Token = tuple[str, float]


def require_client() -> None:
    """Raise MissingExtraError where the client library is not installed."""
    try:
        import confluent_kafka  # noqa: F401 - is it there?
    except ImportError as error:
        raise MissingExtraError(
            "A kafka:// stream needs Kafka's client library.",
            found=str(error),
            todo="pip install 'tickerlake[kafka]'",
        ) from error


def client_config(servers: str, settings: KafkaSettings, troubles: Troubles) -> dict[str, Any]:
    """What producers, consumers and admin clients have in common, as librdkafka names it.

    Raises:
        ConfigError: Settings contradict each other or lack something.
    """
    config: dict[str, Any] = {
        "bootstrap.servers": servers,
        "client.id": "tickerlake",
        "error_cb": troubles.note,
        "log_level": 0,  # what it has to say goes through error_cb; nothing writes on stderr
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1000,
        "socket.keepalive.enable": True,
        "socket.nagle.disable": True,
        "broker.address.ttl": 10_000,
    }
    config |= _tls(settings) | _login(settings)
    for name, value in settings.client.items():
        if "password" in name or "secret" in name or name in _OURS:
            raise ConfigError(
                f"[streams.kafka.client] cannot set {name}.",
                todo="secrets have settings of their own in [streams.kafka]; the rest is fixed, "
                "since our promises rest on it",
            )
        config[name] = value
    return config


def _tls(settings: KafkaSettings) -> dict[str, Any]:
    encrypted = settings.tls or settings.sasl == "aws-msk-iam"
    names = {False: "PLAINTEXT", True: "SSL"}
    protocol = names[encrypted] if settings.sasl is None else f"SASL_{names[encrypted]}"
    config: dict[str, Any] = {"security.protocol": protocol}
    if not encrypted:
        if settings.certificate_file or settings.ca_file:
            raise ConfigError(
                "[streams.kafka] names certificates, but the connection is not encrypted.",
                todo="set tls = true, or take them out",
            )
        return config
    files = {
        "ssl.ca.location": ("ca_file", settings.ca_file),
        "ssl.certificate.location": ("certificate_file", settings.certificate_file),
        "ssl.key.location": ("key_file", settings.key_file),
    }
    for name, (key, path) in files.items():
        if path is None:
            continue
        if not Path(path).expanduser().is_file():
            raise ConfigError(
                f"[streams.kafka] {key} names a file that is not there.",
                found=path,
                todo="name a PEM file",
            )
        config[name] = str(Path(path).expanduser())
    if settings.key_password:
        config["ssl.key.password"] = settings.key_password
    return config


def _login(settings: KafkaSettings) -> dict[str, Any]:
    match settings.sasl:
        case None:
            return {}
        case "plain" | "scram-sha-256" | "scram-sha-512":
            _need(settings.sasl, user=settings.user, password=settings.password)
            return {
                "sasl.mechanism": settings.sasl.upper(),
                "sasl.username": settings.user,
                "sasl.password": settings.password,
            }
        case "aws-msk-iam":
            return {"sasl.mechanism": "OAUTHBEARER", "oauth_cb": _msk_token(settings.aws_region)}
    if settings.oauth_token_file is not None:
        read = _token_from(Path(settings.oauth_token_file).expanduser())
        return {"sasl.mechanism": "OAUTHBEARER", "oauth_cb": read}
    _need(
        "oauthbearer",
        oauth_token_url=settings.oauth_token_url,
        oauth_client_id=settings.oauth_client_id,
        oauth_client_secret=settings.oauth_client_secret,
    )
    config: dict[str, Any] = {
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": settings.oauth_token_url,
        "sasl.oauthbearer.client.id": settings.oauth_client_id,
        "sasl.oauthbearer.client.secret": settings.oauth_client_secret,
    }
    if settings.oauth_scope:
        config["sasl.oauthbearer.scope"] = settings.oauth_scope
    if settings.ca_file:
        config["https.ca.location"] = str(Path(settings.ca_file).expanduser())
    return config


def _need(sasl: str, **values: str | None) -> None:
    missing = [key for key, value in values.items() if not value]
    if missing:
        raise ConfigError(
            f'[streams.kafka] sasl = "{sasl}" needs {" and ".join(missing)}.',
            todo="; ".join(f"set {_place(key)}" for key in missing),
        )


def _place(key: str) -> str:
    if key in {"password", "oauth_client_secret"}:
        variable = f"TICKERLAKE_STREAMS_KAFKA_{key.upper()}"
        return f"the variable {variable}, or {key}_file = a file that holds it"
    return f"{key} in [streams.kafka]"


def _token_from(path: Path) -> Callable[[str], Token]:
    """Reads the token of a file, as often as it ends. Others renew the file (kubelet, a cron)."""

    def read(_: str) -> Token:
        try:
            token = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(
                "[streams.kafka] oauth_token_file cannot be read.", found=str(error)
            ) from error
        return token, _ends_at(token)

    return read


def _ends_at(token: str) -> float:
    """When a token ends, in seconds since 1970, as its own claim `exp` says."""
    try:
        middle = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return clock.real_now().timestamp() + _TOKEN_SECONDS


def _msk_token(
    region: str | None, environment: Mapping[str, str] = os.environ
) -> Callable[[str], Token]:
    """Signs a token with whatever AWS credentials this process has."""
    found = region or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if not found:
        raise ConfigError(
            '[streams.kafka] sasl = "aws-msk-iam" needs the region of the cluster.',
            todo="set aws_region in [streams.kafka], or AWS_REGION",
        )
    try:
        from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
    except ImportError as error:
        raise MissingExtraError(
            "Logging in to Amazon MSK with IAM needs its signer.",
            found=str(error),
            todo="pip install 'tickerlake[msk]'",
        ) from error

    def sign(_: str) -> Token:
        token, ends_at_ms = MSKAuthTokenProvider.generate_auth_token(found)
        return token, ends_at_ms / 1000

    return sign
