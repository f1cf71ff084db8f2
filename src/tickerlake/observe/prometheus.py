"""Figures as Prometheus reads them: the text exposition format, version 0.0.4."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["CONTENT_TYPE", "Family", "prometheus_text"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name, what it counts, and a sample for each set of labels.

    A sample without a value (null: not known) is left out.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: Sequence[tuple[Mapping[str, str], float | None]]


def prometheus_text(families: Iterable[Family]) -> str:
    """All families, one after the other."""
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {_escaped(family.help)}"
    yield f"# TYPE {family.name} {family.kind}"
    for labels, value in family.samples:
        if value is None:
            continue
        pairs = ",".join(
            '{}="{}"'.format(name, _escaped(text).replace('"', r"\""))
            for name, text in labels.items()
        )
        yield (
            f"{family.name}{{{pairs}}} {_number(value)}"
            if pairs
            else (f"{family.name} {_number(value)}")
        )


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))
