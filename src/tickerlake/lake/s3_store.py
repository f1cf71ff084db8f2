"""A lake in a bucket: Amazon S3, or a store that speaks its language.

Bytes go through pyarrow's S3 client, which copes with multipart uploads and lets other threads
work; listing and deletion through boto3, because pyarrow leaves an empty object in place of each
folder that it empties. Both find credentials as all AWS tools do: environment, profile, role.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from pyarrow.fs import AwsStandardS3RetryStrategy, FileType, S3FileSystem
from pyiceberg.io import FileIO, InputFile, InputStream, OutputFile, OutputStream

from tickerlake.errors import MissingExtraError, StorageError
from tickerlake.lake.settings import S3Settings
from tickerlake.lake.store import StoredFile
from tickerlake.lake.store_errors import storage_error

__all__ = ["S3FileIO", "S3Store"]

_SCHEME = "s3://"
#: What one request may delete.
_DELETED_AT_ONCE = 1_000
#: Answers that mean: not now.
_PASSING = frozenset({429, *range(500, 600)})


class S3Store:
    """Files in a bucket, below a prefix.

    Promise: a file is there whole or not at all, and is there once `finish` has returned. Not
    promised: that one whose `finish` raised is not there; its name is used by nobody else.
    """

    scheme: str | None = "s3"

    def __init__(self, root: str, settings: S3Settings) -> None:
        if find_spec("boto3") is None:
            raise MissingExtraError(
                "A lake in a bucket needs a package that is not installed.",
                expected="boto3",
                todo="pip install 'tickerlake[s3]'",
            )
        self.root = root
        self._settings = settings
        self.filesystem = _filesystem(settings)
        self.properties: Mapping[str, Any] = {
            "py-io-impl": "tickerlake.lake.s3_store.S3FileIO",
            "tickerlake.s3": settings,
        }

    def key(self, path: str) -> str:
        """`bucket/prefix/name`."""
        return _key(path)

    def home(self, namespace: str, name: str, *, hidden: bool = False) -> str:  # noqa: ARG002
        """Where catalogs would put it themselves: some of them allow no other place."""
        return f"{self.root}/{namespace}/{name}"

    def files(self, folder: str) -> Iterator[StoredFile]:
        """All files below a folder."""
        bucket, _, prefix = _key(folder).partition("/")
        with _asking(folder):
            pages = _client(self._settings).get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=bucket, Prefix=f"{prefix}/" if prefix else ""):
                for found in page.get("Contents", ()):
                    yield StoredFile(
                        f"{_SCHEME}{bucket}/{found['Key']}",
                        found["Size"],
                        found["LastModified"].timestamp(),
                    )

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        with _asking(path):
            return bool(self.filesystem.get_file_info(_key(path)).type == FileType.File)

    def create(self, path: str) -> _S3Output:
        """Begin an upload."""
        return _S3Output(self, path)

    def delete(self, paths: Iterable[str]) -> None:
        """Remove files, a thousand a request."""
        waiting = iter(paths)
        while several := list(itertools.islice(waiting, _DELETED_AT_ONCE)):
            bucket = _key(several[0]).partition("/")[0]
            keys: list[Any] = [{"Key": _key(path).partition("/")[2]} for path in several]
            with _asking(several[0]):
                answer = _client(self._settings).delete_objects(
                    Bucket=bucket, Delete={"Objects": keys, "Quiet": True}
                )
            for error in answer.get("Errors", ()):
                if error.get("Code") != "NoSuchKey":
                    raise storage_error(f"{error.get('Code')}: {error.get('Message')}", several[0])

    def delete_folder(self, folder: str) -> None:
        """Remove all files below a folder."""
        with contextlib.suppress(StorageError):
            self.delete([file.path for file in self.files(folder)])


def _key(path: str) -> str:
    return path.removeprefix(_SCHEME)


@lru_cache(maxsize=8)
def _filesystem(settings: S3Settings) -> S3FileSystem:
    """One for all who use it: it keeps connections."""
    scheme, _, host = (settings.endpoint_url or "").rpartition("://")
    return S3FileSystem(
        endpoint_override=host.rstrip("/") or None,
        scheme=scheme or "https",
        region=settings.region,
        force_virtual_addressing=not settings.path_style,
        connect_timeout=settings.connect_seconds_max,
        request_timeout=settings.request_seconds_max,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=settings.tries_max),
        tls_ca_file_path=settings.ca_file,
        # Small files are one request, not a multipart upload.
        allow_delayed_open=True,
    )


@lru_cache(maxsize=8)
def _client(settings: S3Settings) -> Any:  # noqa: ANN401 - boto3 has no types of its own
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        verify=settings.ca_file,
        config=Config(
            connect_timeout=settings.connect_seconds_max,
            read_timeout=settings.request_seconds_max,
            retries={"total_max_attempts": settings.tries_max, "mode": "standard"},
            s3={"addressing_style": "path" if settings.path_style else "virtual"},
        ),
    )


@contextlib.contextmanager
def _asking(path: str) -> Iterator[None]:
    """What goes wrong with a request, as ours."""
    from botocore import exceptions as boto

    try:
        yield
    except boto.ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise storage_error(error, path, outage=status in _PASSING) from error
    except boto.BotoCoreError as error:
        outage = isinstance(error, (boto.ConnectionError, boto.HTTPClientError))
        raise storage_error(error, path, outage=outage) from error
    except OSError as error:
        raise storage_error(error, path) from error


class _S3Output:
    def __init__(self, store: S3Store, path: str) -> None:
        self._store = store
        self._path = path
        self.file: pa.NativeFile = store.filesystem.open_output_stream(_key(path))

    def finish(self) -> int:
        byte_count = int(self.file.tell())
        self.file.close()
        return byte_count

    def discard(self) -> None:
        # Closing what was begun completes it, or the parts stay on the bill for ever.
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(StorageError):
            self._store.delete([self._path])


class _Input(InputFile):
    def __init__(self, filesystem: S3FileSystem, location: str) -> None:
        super().__init__(location)
        self._filesystem = filesystem

    def __len__(self) -> int:
        return int(self._filesystem.get_file_info(_key(self.location)).size)

    def exists(self) -> bool:
        return bool(self._filesystem.get_file_info(_key(self.location)).type == FileType.File)

    def open(self, seekable: bool = True) -> InputStream:  # noqa: ARG002 - always seekable
        with self._filesystem.open_input_stream(_key(self.location)) as file:
            return BytesIO(file.read())


class _Upload(BytesIO):
    """Collects the bytes and sends them in one go: metadata files are small."""

    def __init__(self, filesystem: S3FileSystem, location: str) -> None:
        super().__init__()
        self._filesystem = filesystem
        self._location = location

    def close(self) -> None:
        if self.closed:
            return
        whole = self.getvalue()
        super().close()
        try:
            with self._filesystem.open_output_stream(_key(self._location)) as file:
                file.write(whole)
        except OSError as error:
            raise storage_error(error, self._location) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exctype: type[BaseException] | None,
        excinst: BaseException | None,
        exctb: TracebackType | None,
    ) -> None:
        if exctype is None:
            self.close()
        else:  # A file that its writer did not finish is not written at all.
            super().close()


class _Output(OutputFile):
    def __init__(self, filesystem: S3FileSystem, location: str) -> None:
        super().__init__(location)
        self._filesystem = filesystem

    def __len__(self) -> int:
        return len(self.to_input_file())

    def exists(self) -> bool:
        return self.to_input_file().exists()

    def to_input_file(self) -> InputFile:
        return _Input(self._filesystem, self.location)

    def create(self, overwrite: bool = False) -> OutputStream:  # noqa: ARG002 - names are unique
        return _Upload(self._filesystem, self.location)


class S3FileIO(FileIO):
    """PyIceberg's view of the bucket. The catalog names this class in its `py-io-impl` property."""

    def __init__(self, properties: dict[str, Any] | None = None) -> None:
        super().__init__(properties or {})
        self._filesystem = _filesystem(self.properties["tickerlake.s3"])

    def new_input(self, location: str) -> InputFile:
        """A file to read."""
        return _Input(self._filesystem, location)

    def new_output(self, location: str) -> OutputFile:
        """A file to write once."""
        return _Output(self._filesystem, location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Remove a file."""
        name = location if isinstance(location, str) else location.location
        bucket, _, key = _key(name).partition("/")
        with _asking(name):
            _client(self.properties["tickerlake.s3"]).delete_object(Bucket=bucket, Key=key)
