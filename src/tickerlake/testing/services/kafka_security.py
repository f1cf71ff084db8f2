"""What a broker needs to ask its clients who they are: `KafkaCluster(protocol=…, extra=…)`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final, Literal

__all__ = ["SCRAM_USERS", "Certificates", "authorizer", "oauthbearer", "plain", "scram", "tls"]

#: Users and passwords that the template of the brokers' storage holds.
SCRAM_USERS: Final = {"admin": "admin-secret", "alice": "alice-secret"}
_MODULES: Final = "org.apache.kafka.common.security"


def scram() -> str:
    """SASL/SCRAM-SHA-512 with `SCRAM_USERS`; protocol SASL_PLAINTEXT or SASL_SSL."""
    return _sasl("SCRAM-SHA-512", f"{_MODULES}.scram.ScramLoginModule required;")


def plain(users: dict[str, str]) -> str:
    """SASL/PLAIN with these users and passwords."""
    known = " ".join(f'user_{name}="{password}"' for name, password in users.items())
    return _sasl("PLAIN", f"{_MODULES}.plain.PlainLoginModule required {known};")


def oauthbearer() -> str:
    """SASL/OAUTHBEARER that believes unsigned tokens, as Kafka's own tests do."""
    module = f"{_MODULES}.oauthbearer.OAuthBearerLoginModule required;"
    return _sasl("OAUTHBEARER", module)


def authorizer(*super_users: str) -> str:
    """Who has no ACL may do nothing, but for these users and the brokers themselves."""
    names = ";".join(f"User:{name}" for name in (*super_users, "ANONYMOUS"))
    return (
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n"
        f"super.users={names}\n"
    )


class Certificates:
    """A certificate authority with one certificate for brokers and one for clients, by openssl.

    Attributes:
        authority: The authority's certificate, PEM.
        client_certificate: For mutual TLS, PEM.
        client_key: Its key, PEM.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.authority = folder / "ca.crt"
        self._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key"),
            *("-out", "ca.crt", "-days", "30", "-subj", "/CN=tickerlake-test"),
        )
        broker = self._signed("broker", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        self.client_certificate, self.client_key = self._signed(
            "client", "extendedKeyUsage=clientAuth"
        )
        (folder / "broker.pem").write_text("".join(part.read_text() for part in reversed(broker)))

    def _signed(self, name: str, extension: str) -> tuple[Path, Path]:
        (self.folder / f"{name}.ext").write_text(extension + "\n")
        self._openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key"),
            *("-out", f"{name}.csr", "-subj", f"/CN={name}"),
        )
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-days", "30", "-out", f"{name}.crt"),
            *("-extfile", f"{name}.ext"),
        )
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)  # noqa: S607


def tls(
    certificates: Certificates, client: Literal["none", "requested", "required"] = "none"
) -> str:
    """TLS for the protocols SSL and SASL_SSL; `client` "required" is mutual TLS."""
    return (
        f"ssl.keystore.type=PEM\nssl.keystore.location={certificates.folder}/broker.pem\n"
        f"ssl.truststore.type=PEM\nssl.truststore.location={certificates.authority}\n"
        f"ssl.client.auth={client}\n"
    )


def _sasl(mechanism: str, module: str) -> str:
    listener = f"listener.name.client.{mechanism.lower()}"
    return f"sasl.enabled.mechanisms={mechanism}\n{listener}.sasl.jaas.config={module}\n"
