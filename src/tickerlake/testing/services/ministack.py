"""An emulator of many AWS services on loopback; here for DynamoDB."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from tickerlake.testing.services.installed import installed
from tickerlake.testing.services.process import LOOPBACK, Service, free_ports

__all__ = ["Ministack"]


class Ministack(Service):
    """One port for all services; any key is good, and all is in memory."""

    name = "ministack"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (self.port,) = free_ports(1, owner=self)

    @property
    def url(self) -> str:
        """The endpoint of every service."""
        return f"http://{LOOPBACK}:{self.port}"

    def command(self) -> Sequence[str]:
        """Its server."""
        return [str(installed("venv", "bin", "ministack"))]

    def environment(self) -> Mapping[str, str]:
        """Its port; nothing is written, and no other port is opened."""
        return {
            "BIND_HOST": LOOPBACK,
            "GATEWAY_PORT": str(self.port),
            "S3_PERSIST": "0",
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
        }

    def answering(self) -> bool:
        """Whether its health check answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=1) as answer:  # noqa: S310
                return answer.status == 200
        except OSError:
            return False
