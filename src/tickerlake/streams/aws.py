"""The streams' only touch of boto3: calls, made again where that is safe, in our own errors."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from tickerlake import clock
from tickerlake.errors import (
    ConfigError,
    MissingExtraError,
    RateLimitedError,
    TickerlakeError,
    UnreachableError,
)

__all__ = [
    "Backoff",
    "RefusedError",
    "Reply",
    "Service",
    "ThrottledError",
    "UnansweredError",
    "UnsentError",
    "service_seconds",
]

_log = logging.getLogger(__name__)

Reply = dict[str, Any]

_UNREACHED: Final = "AWS cannot be reached."
_UNANSWERED: Final = "AWS gave no answer: what was asked for may have been done."
_LOOK: Final = "look at the network, and at the endpoint's address if you set one"

_THROTTLED: Final = frozenset(
    {
        "KMSThrottlingException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
    }
)
_TOKEN_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "NotAuthorized",
        "OptInRequired",
        "UnrecognizedClientException",
    }
)


class RefusedError(TickerlakeError):
    """The service did not do it, and says why; callers tell refusals apart by `code`."""

    def __init__(
        self,
        problem: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        todo: str | None = None,
        code: str = "",
    ) -> None:
        super().__init__(problem, expected=expected, found=found, todo=todo)
        self.code = code


class ThrottledError(RateLimitedError):
    """The service did not do it: too much for now."""


class UnansweredError(UnreachableError):
    """The call was sent and no answer came: it may have been done."""


class UnsentError(UnreachableError):
    """No connection came about: it was certainly not done."""


class Backoff:
    """Longer and longer pauses, with jitter, until a deadline."""

    def __init__(self, patience_seconds: float, *, pause_seconds: float = 0.1) -> None:
        self._deadline = clock.monotonic_seconds() + patience_seconds
        self._pause_seconds = pause_seconds

    def pause(self, error: UnreachableError) -> None:
        """Wait before the next try; raise the error when patience is at its end."""
        if clock.monotonic_seconds() > self._deadline:
            raise error
        clock.sleep(self.next_seconds())

    def next_seconds(self) -> float:
        """The next pause, for those who have other things to do meanwhile."""
        pause = self._pause_seconds * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
        self._pause_seconds = min(2 * self._pause_seconds, 5.0)
        return pause


class Service:
    """One AWS service in one region. Safe to use from several threads.

    `call` makes one try; `ask`, for what may be
    done twice, tries until it is answered. Credentials that ran out are fetched again.
    """

    def __init__(
        self, name: str, region: str, endpoint_url: str | None, *, patience_seconds: float
    ) -> None:
        self._name = name
        self._region = region
        self._endpoint_url = endpoint_url
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._client: Any = None
        #: How far the service's clock is ahead of our monotonic one.
        self._ahead_seconds = clock.real_now().timestamp() - clock.monotonic_seconds()

    def now_seconds(self) -> float:
        """The present by the service's own clock, as of its last answer; ours may jump."""
        return self._ahead_seconds + clock.monotonic_seconds()

    def call(self, operation: str, **arguments: object) -> Reply:
        """One try.

        Raises:
            RefusedError: The service says no.
            ThrottledError: It says: later.
            UnansweredError: It may have been done.
            UnsentError: It was not done.
        """
        return self._translated(operation, arguments)

    def ask(self, operation: str, **arguments: object) -> Reply:
        """Until it is answered; only for what may safely be done twice.

        Raises:
            RefusedError: The service says no.
            RateLimitedError: It is asked too much of, for longer than patience lasts.
            UnreachableError: Nobody answered for as long.
        """
        backoff = Backoff(self._patience_seconds)
        while True:
            try:
                return self._translated(operation, arguments)
            except (ThrottledError, UnansweredError, UnsentError) as error:
                backoff.pause(error)

    def events(self, stream: Any) -> Iterator[Reply]:  # noqa: ANN401 - boto3 has no types
        """What is pushed over one answer, until the service or the network ends it.

        Raises:
            RefusedError: The service ends it, and says why.
        """
        import botocore.exceptions as boto
        import urllib3.exceptions

        try:
            yield from stream
        except boto.EventStreamError as error:
            raise _refusal(error, str(error.response["Error"].get("Code", ""))) from error
        except (boto.BotoCoreError, urllib3.exceptions.HTTPError, OSError):
            _log.info("AWS has hung up on a subscription", exc_info=True)

    def close(self) -> None:
        """Give back the connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _translated(self, operation: str, arguments: dict[str, object]) -> Reply:
        import botocore.exceptions as boto

        for last in (False, True):
            client = self._opened()
            try:
                reply: Reply = getattr(client, operation)(**arguments)
            except boto.ClientError as error:
                code = str(error.response["Error"].get("Code", ""))
                if code in _TOKEN_EXPIRED and not last:
                    self.close()  # The next client asks the chain for new credentials.
                    continue
                raise _refusal(error, code) from error
            except (boto.NoCredentialsError, boto.PartialCredentialsError) as error:
                raise _without_credentials(str(error)) from error
            except (boto.EndpointConnectionError, boto.ConnectTimeoutError) as error:
                raise UnsentError(_UNREACHED, found=str(error), todo=_LOOK) from error
            except (boto.HTTPClientError, boto.ConnectionError) as error:
                raise UnansweredError(_UNANSWERED, found=str(error), todo=_LOOK) from error
            except boto.BotoCoreError as error:
                # What is left is about profiles, regions and the like, or an answer in pieces.
                if isinstance(error, boto.ResponseStreamingError | boto.ParserError):
                    raise UnansweredError(_UNANSWERED, found=str(error), todo=_LOOK) from error
                raise ConfigError(
                    f"boto3 cannot call {self._name}.",
                    found=str(error),
                    todo="`aws sts get-caller-identity` shows whether the AWS set-up works",
                ) from error
            else:
                self._ahead_seconds = service_seconds(reply) - clock.monotonic_seconds()
                return reply
        raise AssertionError  # pragma: no cover - the second turn returns or raises

    def _opened(self) -> Any:  # noqa: ANN401 - boto3 has no types
        with self._lock:
            if self._client is None:
                self._client = _make_client(self._name, self._region, self._endpoint_url)
            return self._client


def service_seconds(reply: Reply) -> float:
    """When the service answered, by its own clock: ours may be wrong."""
    date = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        when = parsedate_to_datetime(date) if date else clock.real_now()
    except ValueError:
        when = clock.real_now()
    return datetime.timestamp(when)


def _make_client(name: str, region: str, endpoint_url: str | None) -> Any:  # noqa: ANN401
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise MissingExtraError(
            f"The service {name} needs boto3, which is not installed.",
            todo="pip install 'tickerlake[kinesis]'",
        ) from error
    config = Config(
        # Only we know which calls may be made twice.
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=5,
        read_timeout=30,
        max_pool_connections=32,
        parameter_validation=False,
        tcp_keepalive=True,
    )
    # A session of its own: boto3's default one is not safe between threads.
    session = boto3.session.Session(region_name=region)
    return session.client(name, endpoint_url=endpoint_url, config=config)


def _refusal(error: Any, code: str) -> TickerlakeError:  # noqa: ANN401
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    message = str(error.response["Error"].get("Message", ""))
    if code in _THROTTLED or status == 429:
        return ThrottledError(
            "AWS asks to come back later.",
            found=f"{code}: {message}",
            todo="wait; of Kinesis, add shards or read with fewer: each takes 5 reads a second",
        )
    if status >= 500:
        return UnansweredError(_UNANSWERED, found=f"{status} {code}: {message}", todo=_LOOK)
    if code in _DENIED | _TOKEN_EXPIRED:
        return ConfigError(
            f"AWS does not let us call {error.operation_name}.",
            found=f"{code}: {message}",
            todo="`aws sts get-caller-identity` shows who you are: log in again, or have "
            f"{error.operation_name} permitted",
        )
    return RefusedError(
        f"AWS refused {error.operation_name}.", found=f"{code}: {message}", code=code
    )


def _without_credentials(found: str) -> ConfigError:
    return ConfigError(
        "There are no AWS credentials.",
        expected="what boto3 finds: a profile, a role, or AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY",
        found=found,
        todo="`aws configure sso`, or for an emulator set both variables to any text",
    )
