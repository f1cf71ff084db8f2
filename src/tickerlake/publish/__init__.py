"""From a source onto the stream: sets each bar's state against what is already known."""

from tickerlake.publish.live import LiveReport, publish_feed, with_lasting_ids
from tickerlake.publish.news import News, new_actions, new_bars
from tickerlake.publish.publisher import KnownActions, KnownBars, Publisher
from tickerlake.publish.replay import Step, replay
from tickerlake.publish.reports import Chosen, Event, PublishReport, Put

__all__ = [
    "Chosen",
    "Event",
    "KnownActions",
    "KnownBars",
    "LiveReport",
    "News",
    "PublishReport",
    "Publisher",
    "Put",
    "Step",
    "new_actions",
    "new_bars",
    "publish_feed",
    "replay",
    "with_lasting_ids",
]
