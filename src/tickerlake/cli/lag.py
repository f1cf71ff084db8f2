"""What long work says of how far the lake is, now and then."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tickerlake.cli.output import Output, counted
from tickerlake.errors import TickerlakeError

if TYPE_CHECKING:
    from tickerlake.app import Workspace
    from tickerlake.flow import TopicFlow

__all__ = ["lag_told"]

#: A table that lags is told this often.
EVERY_SECONDS = 10.0


@contextmanager
def lag_told(
    workspace: Workspace, output: Output, *, every_seconds: float = EVERY_SECONDS
) -> Iterator[None]:
    """Within, a line a table now and then, as long as it lags, and one when it has caught up."""
    flow = workspace.flow  # opened here, for the thread
    over = threading.Event()
    lagging: set[str] = set()

    def tell() -> None:
        while not over.wait(every_seconds):
            try:
                topics = flow.topics()
            except TickerlakeError as error:
                output.tell("debug", "lag", f"nobody can tell how far the lake is: {error.problem}")
                continue
            for topic in topics:
                behind = topic.lag > 0 or bool(topic.lag_seconds)
                if behind or topic.table in lagging:
                    _tell(topic, output)
                (lagging.add if behind else lagging.discard)(topic.table)

    teller = threading.Thread(target=tell, name="lag", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _tell(topic: TopicFlow, output: Output) -> None:
    seconds = topic.lag_seconds
    text = f"{topic.table}: behind"
    if topic.lag_is_known:
        text = f"{topic.table}: {counted(topic.lag, 'position')} behind"
    if seconds is not None:
        text += f", the oldest {seconds:.1f} s old"
    output.tell(
        "info",
        "lag",
        text if topic.lag or seconds else f"{topic.table}: has all that the stream holds",
        {
            "table": topic.table,
            "lag": topic.lag if topic.lag_is_known else None,
            "lag_seconds": seconds,
        },
    )
