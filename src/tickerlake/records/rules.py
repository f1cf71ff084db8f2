"""Value rules: judged where records enter the lake, never by sources."""

from __future__ import annotations

import pyarrow as pa

from tickerlake.records.schemas import Kind

__all__ = ["dead_reasons"]


def dead_reasons(table: pa.Table, kind: Kind) -> pa.Array:
    """Why each record may not enter `bars` and its sisters; null = sound."""
    raise NotImplementedError  # built by the streams branch
