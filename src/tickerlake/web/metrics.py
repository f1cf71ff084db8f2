"""Figures of the chain and of the page's own hub, for Prometheus."""

from __future__ import annotations

from tickerlake.observe import Family
from tickerlake.web.base import Pipeline
from tickerlake.web.hub import Hub

__all__ = ["own_figures"]


def own_figures(pipeline: Pipeline, hub: Hub) -> list[Family]:
    """What `/metrics` tells of the hops, and of the pages that are open."""
    hops = pipeline.hops
    fresh = hub.freshness()
    counts = hub.counts
    return [
        Family("tickerlake_hop_records_total", "counter", "Records that have passed the hop.",
               [({"hop": hop.name}, hop.count) for hop in hops]),
        Family("tickerlake_hop_rate_per_second", "gauge", "Records per second, lately.",
               [({"hop": hop.name}, hop.rate_per_second) for hop in hops]),
        Family("tickerlake_hop_lag_records", "gauge", "Positions that the hop does not have yet.",
               [({"hop": hop.name}, hop.lag_records) for hop in hops]),
        Family("tickerlake_hop_lag_seconds", "gauge", "Age of the oldest of them.",
               [({"hop": hop.name}, hop.lag_seconds) for hop in hops]),
        Family("tickerlake_hop_state", "gauge", "1 for the state that the hop is in.",
               [({"hop": hop.name, "state": hop.state}, 1) for hop in hops]),
        Family("tickerlake_web_clients", "gauge", "Pages on the live stream.",
               [({}, hub.clients)]),
        Family("tickerlake_web_records_total", "counter", "Live records taken in.",
               [({}, counts.records)]),
        Family("tickerlake_web_bars_total", "counter", "Bars left after conflation.",
               [({}, counts.bars)]),
        Family("tickerlake_web_frames_total", "counter", "Frames given to pages.",
               [({}, counts.frames)]),
        Family("tickerlake_web_skipped_total", "counter", "Frames skipped for slow pages.",
               [({}, counts.skipped)]),
        Family("tickerlake_web_live_age_seconds", "gauge", "Since the last live record.",
               [({}, fresh.age_seconds)]),
        Family("tickerlake_web_live_badge", "gauge", "1 for the badge that the page shows.",
               [({"badge": fresh.badge}, 1)]),
    ]  # fmt: skip
