"""Figures of the chain and of the page's own hub, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tickerlake.web.base import Pipeline
from tickerlake.web.hub import Hub

__all__ = ["prometheus_text"]


def prometheus_text(pipeline: Pipeline, hub: Hub) -> str:
    """The text exposition format, version 0.0.4."""
    hops = pipeline.hops
    fresh = hub.freshness()
    counts = hub.counts
    lines = [
        *_family("tickerlake_hop_records_total", "counter", "Records that have passed the hop.",
                 ((f'hop="{hop.name}"', hop.count) for hop in hops)),
        *_family("tickerlake_hop_rate_per_second", "gauge", "Records per second, lately.",
                 ((f'hop="{hop.name}"', hop.rate_per_second) for hop in hops)),
        *_family("tickerlake_hop_lag_records", "gauge", "Records that the hop does not have yet.",
                 ((f'hop="{hop.name}"', hop.lag_records) for hop in hops)),
        *_family("tickerlake_hop_lag_seconds", "gauge", "Age of the oldest of them.",
                 ((f'hop="{hop.name}"', hop.lag_seconds) for hop in hops)),
        *_family("tickerlake_hop_state", "gauge", "1 for the state that the hop is in.",
                 ((f'hop="{hop.name}",state="{hop.state}"', 1) for hop in hops)),
        *_family("tickerlake_web_clients", "gauge", "Pages on the live stream.",
                 [("", hub.clients)]),
        *_family("tickerlake_web_records_total", "counter", "Live records taken in.",
                 [("", counts.records)]),
        *_family("tickerlake_web_bars_total", "counter", "Bars left after conflation.",
                 [("", counts.bars)]),
        *_family("tickerlake_web_frames_total", "counter", "Frames given to pages.",
                 [("", counts.frames)]),
        *_family("tickerlake_web_skipped_total", "counter", "Frames skipped for slow pages.",
                 [("", counts.skipped)]),
        *_family("tickerlake_web_live_age_seconds", "gauge", "Since the last live record.",
                 [("", fresh.age_seconds)]),
        *_family("tickerlake_web_live_badge", "gauge", "1 for the badge that the page shows.",
                 [(f'badge="{fresh.badge}"', 1)]),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _family(
    name: str, kind: str, text: str, samples: Iterable[tuple[str, float | None]]
) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        if value is not None:
            yield f"{name}{{{labels}}} {value}" if labels else f"{name} {value}"
