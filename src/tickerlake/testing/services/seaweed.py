"""SeaweedFS on loopback: an S3 store and an Iceberg REST catalog in one process."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tickerlake.testing.services.installed import installed
from tickerlake.testing.services.process import LOOPBACK, Service, free_ports

__all__ = ["ACCESS_KEY", "BUCKET", "REGION", "SECRET_KEY", "TABLE_BUCKET", "Seaweed"]

ACCESS_KEY: Final = "tickerlake"
SECRET_KEY: Final = "tickerlake-secret"  # noqa: S105 - of a store that lives as long as a test
REGION: Final = "us-east-1"
#: The bucket for tables of other catalogs.
BUCKET: Final = "lake"
#: The warehouse of the REST catalog.
TABLE_BUCKET: Final = "tickerlake"
#: Each server speaks gRPC this far above its own port.
_GRPC: Final = 10_000
_PORTS: Final = range(10_000, 20_000)


class Seaweed(Service):
    """One server with the bucket `lake` and the table bucket `tickerlake`.

    Objects and tables survive a SIGKILL.
    """

    name = "SeaweedFS"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        ports = free_ports(6, owner=self, among=_PORTS, also=_GRPC)
        self.s3_port, self.rest_port, *self._inner_ports = ports

    @property
    def s3_url(self) -> str:
        """The endpoint of S3."""
        return f"http://{LOOPBACK}:{self.s3_port}"

    @property
    def rest_url(self) -> str:
        """The Iceberg REST catalog; OAuth2 with `ACCESS_KEY:SECRET_KEY` as credential."""
        return f"http://{LOOPBACK}:{self.rest_port}"

    @property
    def warehouse(self) -> str:
        """What a client of the REST catalog calls its warehouse."""
        return f"s3://{TABLE_BUCKET}"

    def s3_properties(self, *, port: int | None = None) -> dict[str, str]:
        """What PyIceberg's file IO needs to reach S3; `port` names a proxy's."""
        return {
            "s3.endpoint": f"http://{LOOPBACK}:{port or self.s3_port}",
            "s3.access-key-id": ACCESS_KEY,
            "s3.secret-access-key": SECRET_KEY,
            "s3.region": REGION,
        }

    def rest_properties(self, *, port: int | None = None) -> dict[str, str]:
        """What PyIceberg's REST catalog needs; a proxy goes before S3 by `port`."""
        return {
            "credential": f"{ACCESS_KEY}:{SECRET_KEY}",
            "oauth2-server-uri": f"{self.rest_url}/v1/oauth/tokens",
            **self.s3_properties(port=port),
        }

    def s3(self, *, port: int | None = None) -> Any:  # noqa: ANN401 - boto3 has no types
        """A boto3 client; `port` names a proxy's."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=f"http://{LOOPBACK}:{port or self.s3_port}",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
        )

    def create_table_bucket(self, name: str) -> str:
        """Make a further warehouse of the REST catalog and return what clients call it."""
        import boto3

        client = boto3.client(
            "s3tables",
            endpoint_url=self.s3_url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
        )
        client.create_table_bucket(name=name)
        return f"s3://{name}"

    def command(self) -> Sequence[str]:
        """All of SeaweedFS's servers in one process."""
        master, volume, filer, admin = self._inner_ports
        return [
            *(str(installed("venv", "bin", "weed")), "mini", f"-dir={self.folder}"),
            *(f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}"),
            *(f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"),
            *(f"-admin.port={admin}", f"-s3.port={self.s3_port}"),
            *(f"-s3.port.iceberg={self.rest_port}", "-s3.port.lance=0"),
            *("-s3.iam.readOnly=false", "-admin.ui=false", "-webdav=false"),
            *("-master.telemetry=false", f"-bucket={BUCKET}", f"-tableBucket={TABLE_BUCKET}"),
        ]

    def environment(self) -> Mapping[str, str]:
        """The keys, and a bound to its memory: a GiB without it."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "GOMEMLIMIT": "300MiB",
            "GOGC": "50",
        }

    def answering(self) -> bool:
        """Whether both buckets are there: they are made shortly after the ports open."""
        with contextlib.suppress(OSError, ValueError):
            asked = {
                "grant_type": "client_credentials",
                "client_id": ACCESS_KEY,
                "client_secret": SECRET_KEY,
                "scope": "catalog",
            }
            token = self._rest("oauth/tokens", urllib.parse.urlencode(asked).encode(), {})
            bearer = {"Authorization": f"Bearer {token['access_token']}"}
            self._rest(f"{TABLE_BUCKET}/namespaces", None, bearer)
            buckets = self.s3().list_buckets()["Buckets"]
            return any(bucket["Name"] == BUCKET for bucket in buckets)
        return False

    def _rest(self, path: str, body: bytes | None, headers: Mapping[str, str]) -> dict[str, Any]:
        url = f"{self.rest_url}/v1/{path}"
        request = urllib.request.Request(url, body, dict(headers))  # noqa: S310
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return dict(json.load(answer))
