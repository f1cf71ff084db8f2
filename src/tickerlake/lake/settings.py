"""Settings of the lake room."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["LakeSettings", "RestSettings", "S3Settings"]


@dataclass(frozen=True, slots=True)
class S3Settings:
    """`[tables.s3]`: the store of a lake in a bucket.

    Credentials are found as all AWS tools find them: `AWS_ACCESS_KEY_ID`, a profile, a role.
    """

    #: Address of a store that is not Amazon's, such as http://127.0.0.1:8333; null: Amazon S3.
    endpoint_url: str | None = None
    #: Region of the bucket; null: as `AWS_REGION` or the profile says.
    region: str | None = None
    #: Buckets stand in the path, as most stores but Amazon's want it; off: in the host's name.
    path_style: bool = True
    #: How often a request is sent before it has failed, with growing pauses in between.
    tries_max: int = 6
    #: How long a connection may take.
    connect_seconds_max: float = 5.0
    #: How long an answer may keep silent.
    request_seconds_max: float = 30.0
    #: Certificates that the store's own must be signed by; null: those of the system.
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class RestSettings:
    """`[tables.rest]`: how to log in to a `rest:` catalog."""

    #: Which of the catalog's warehouses, in its own words; null: it has one.
    warehouse: str | None = None
    #: OAuth2 client credentials.
    client_id: str | None = None
    #: Their secret part.
    client_secret: str | None = field(default=None, repr=False)
    #: Where to get a token for them; null: from the catalog itself, at v1/oauth/tokens.
    oauth2_url: str | None = None
    #: Scope of the token; null: `catalog`.
    scope: str | None = None
    #: A token that was issued already, in place of client credentials.
    token: str | None = field(default=None, repr=False)
    #: Sign requests with the AWS credentials, as the catalogs of Glue and S3 Tables want it.
    sigv4: bool = False
    #: Whose signature: `glue`, `s3tables`, `execute-api`.
    sigv4_service: str = "execute-api"
    #: Region of the signature; null: as `AWS_REGION` or the profile says.
    sigv4_region: str | None = None
    #: How long a connection may take, and how long an answer may keep silent.
    seconds_max: float = 30.0
    #: Certificates that the catalog's own must be signed by; null: those of the system.
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class LakeSettings:
    """`[tables]`: how files look, and how much of the past the tables keep."""

    #: Rows of one Parquet row group; small enough that one symbol's day reads little.
    row_group_rows: int = 120_000
    #: Compression of data files: zstd at this level.
    zstd_level: int = field(default=1, metadata={"least": 0})
    #: Compaction starts another file beyond this many rows.
    compacted_file_rows_max: int = 8_000_000
    #: Rows that compaction sorts in memory at once.
    compaction_rows_max: int = 500_000
    #: Files of closed days in one month at which a delivering worker compacts it.
    compact_at_files: int = 32
    #: Live snapshots that expiry leaves: without expiry each commit gets slower.
    snapshots_max: int = 100
    #: Commits between two expiries while a worker delivers.
    expire_every_commits: int = 50
    #: Old metadata files kept, so that a slow reader finds the one it started with. At least 100.
    metadata_versions_max: int = 100
    #: Manifests of about the same size that are merged into one.
    manifests_merge_at: int = 20
    #: The sweep deletes only files that were older than this before its fence.
    sweep_age_hours: float = field(default=24.0, metadata={"least": 1})
    #: Name of the namespace, of those that share a catalog; SQLite's has one only.
    namespace: str = "tickerlake"
    #: How long rival processes wait for a SQL catalog before giving up.
    busy_timeout_seconds: float = 30.0
    #: Wait for the disk before each commit. Off: a power cut may damage the newest commits.
    fsync: bool = True
    s3: S3Settings = field(default_factory=S3Settings)
    rest: RestSettings = field(default_factory=RestSettings)
