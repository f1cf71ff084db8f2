"""A catalog behind Iceberg's REST protocol: Polaris, Lakekeeper, S3 Tables, a team's own."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    BadRequestError,
    CommitFailedException,
    ForbiddenError,
    NoSuchTableError,
    RESTError,
    ServerError,
    ServiceUnavailableError,
    TooManyRequestsError,
    UnauthorizedError,
)
from pyiceberg.table import CommitTableResponse, Table
from requests import Response, Session
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import RequestException, Timeout

from tickerlake.errors import ConfigError, MissingExtraError, UnreachableError
from tickerlake.lake.catalog import CATALOG_NAME, LakeCatalog
from tickerlake.lake.settings import LakeSettings, RestSettings
from tickerlake.lake.store import Store

if TYPE_CHECKING:
    from pyiceberg.table.update import TableRequirement, TableUpdate
    from pyiceberg.typedef import Identifier

__all__ = ["RestLakeCatalog", "open_rest"]

#: The catalog has looked at the request and does not do it.
_REFUSED: Final = (
    AuthorizationExpiredError,
    BadRequestError,
    ForbiddenError,
    NoSuchTableError,
    TooManyRequestsError,
    UnauthorizedError,
)
_LATER: Final = (NoConnection, Timeout, ServerError, ServiceUnavailableError, TooManyRequestsError)
#: A token that has expired; servers do not agree on how to say it.
_EXPIRED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, 419)


class RestLakeCatalog(LakeCatalog, RestCatalog):
    """PyIceberg's REST catalog with limits of time, which logs in again when its token has expired.

    The catalog itself writes metadata files and compares. A request is sent once more only where
    the first one was turned away at the door.
    """

    def __init__(self, name: str, settings: RestSettings, **properties: Any) -> None:  # noqa: ANN401
        self._settings = settings
        super().__init__(name, **properties)

    def pointer(self, identifier: str | Identifier) -> str | None:
        """The newest metadata location of a table; null if there is no such table."""
        try:
            return self.load_table(identifier).metadata_location
        except NoSuchTableError:
            return None

    def is_transient(self, error: Exception) -> bool:
        """No connection, no answer in time, or a server that is not well."""
        return isinstance(error, _LATER)

    def commit_table(
        self,
        table: Table,
        requirements: tuple[TableRequirement, ...],
        updates: tuple[TableUpdate, ...],
    ) -> CommitTableResponse:
        """Ask the catalog to compare and swap, once.

        Raises:
            CommitFailedException: Certainly not committed by this request.
            RESTError, RequestException: Nobody knows.
        """
        try:
            return super().commit_table(table, requirements, updates)
        except _REFUSED as error:
            raise CommitFailedException(f"{type(error).__name__}: {error}") from error

    def _config_headers(self, session: Session) -> None:
        # PyIceberg prepares each of its sessions here before it is used. It sets no limits of time,
        # and it logs in again on 401 and 419 alone.
        super()._config_headers(session)
        session.request = partial(session.request, timeout=self._settings.seconds_max)  # type: ignore[method-assign]
        if self._settings.client_secret is not None:
            session.hooks["response"].append(self._log_in_again)

    def _log_in_again(self, response: Response, **sending: Any) -> Response:  # noqa: ANN401
        request = response.request
        logging_in = request.url == self.properties["oauth2-server-uri"]
        if response.status_code not in _EXPIRED or logging_in or self._auth_manager is None:
            return response
        response.close()
        self._refresh_token()
        request.headers["Authorization"] = self._auth_manager.auth_header() or ""
        # Straight to the connection, past this hook: once is enough.
        again = response.connection.send(request, **sending)
        again.history.append(response)
        return again


def open_rest(catalog_url: str, *, store: Store, settings: LakeSettings) -> RestLakeCatalog:
    """Open a REST catalog and its namespace, which is made on first use.

    Raises:
        ConfigError: The URL or the settings cannot be used.
        UnreachableError: It does not answer, or does not let us in.
    """
    address = _address(catalog_url)
    try:
        catalog = RestLakeCatalog(
            CATALOG_NAME,
            settings.rest,
            uri=address,
            **_properties(address, settings.rest),
            **store.properties,
        )
        catalog.namespace = settings.namespace
        catalog.create_namespace_if_not_exists(settings.namespace)
    except (RESTError, RequestException, OSError, ValueError) as error:
        raise UnreachableError(
            f"The lake's catalog {address} cannot be opened.",
            found=f"{type(error).__name__}: {error}",
            todo="see that it runs there, and that [tables.rest] names the warehouse and the "
            "credentials that it wants",
        ) from error
    return catalog


def _address(catalog_url: str) -> str:
    """`rest:https://host/path` or `rest+https://host/path` → `https://host/path`."""
    address = catalog_url.removeprefix("rest").lstrip(":+").rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise ConfigError(
            "The catalog's address cannot be read.",
            expected='catalog = "rest:https://host/path"',
            found=f'catalog = "{catalog_url}"',
            todo="write the address of Iceberg's REST protocol there, without /v1",
        )
    return address


def _properties(address: str, settings: RestSettings) -> dict[str, Any]:
    """PyIceberg's names for our settings."""
    found: dict[str, Any] = {}
    if settings.warehouse is not None:
        found["warehouse"] = settings.warehouse
    if settings.client_secret is not None:
        found["credential"] = f"{settings.client_id or ''}:{settings.client_secret}"
        found["oauth2-server-uri"] = settings.oauth2_url or f"{address}/v1/oauth/tokens"
    if settings.token is not None:
        found["token"] = settings.token
        found.setdefault("oauth2-server-uri", settings.oauth2_url or f"{address}/v1/oauth/tokens")
    if settings.scope is not None:
        found["scope"] = settings.scope
    if settings.ca_file is not None:
        found["ssl"] = {"cabundle": settings.ca_file}
    if settings.sigv4:
        if find_spec("boto3") is None:
            raise MissingExtraError(
                "Signing requests for the catalog needs a package that is not installed.",
                expected="boto3",
                todo="pip install 'tickerlake[s3]'",
            )
        found["rest.sigv4-enabled"] = "true"
        found["rest.signing-name"] = settings.sigv4_service
        if settings.sigv4_region is not None:
            found["rest.signing-region"] = settings.sigv4_region
    return found
