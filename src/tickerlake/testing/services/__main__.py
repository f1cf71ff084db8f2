"""Run a command over a fresh stream of its own: `python -m tickerlake.testing.services kafka -- …`.

The service is started on loopback, `{url}` in the command's words becomes the stream's URL, and
the service is gone when the command has ended. Exits as the command did.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tickerlake.errors import TickerlakeError, UsageError

__all__: list[str] = []


@contextmanager
def kafka(folder: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """One broker: its URL, and what the command needs in its environment."""
    from tickerlake.testing.services.kafka import KafkaCluster

    with KafkaCluster(folder / "kafka") as cluster:
        yield f"kafka://{cluster.bootstrap}/market", {}


@contextmanager
def kinesis(folder: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """One emulated region: its URL, and what the command needs in its environment."""
    from tickerlake.testing.services.kinesis import REGION, Kinesis

    with Kinesis(folder / "kinesis") as emulator:
        yield (
            f"kinesis://{REGION}/market",
            {
                "TICKERLAKE_STREAMS_KINESIS_ENDPOINT_URL": emulator.url,
                "AWS_ACCESS_KEY_ID": "tickerlake",
                "AWS_SECRET_ACCESS_KEY": "tickerlake-secret",  # an emulator takes any
            },
        )


_STREAMS = {"kafka": kafka, "kinesis": kinesis}


def main(words: list[str]) -> int:
    """Start, run, end; the exit code of what was run."""
    if len(words) < 3 or words[0] not in _STREAMS or words[1] != "--":
        raise UsageError(
            "Which service, and which command?",
            expected="kafka or kinesis, then --, then a command in which {url} is the stream's URL",
            found=" ".join(words) or "nothing",
        )
    with (
        tempfile.TemporaryDirectory(prefix="tickerlake-") as folder,
        _STREAMS[words[0]](Path(folder)) as (url, variables),
    ):
        sys.stderr.write(f"A fresh {words[0]} listens: {url}\n")
        command = subprocess.Popen(
            [word.replace("{url}", url) for word in words[2:]], env={**os.environ, **variables}
        )
        # Ctrl-C reaches the command as well: it ends in good order, and then we do.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda got, _: command.send_signal(got))
        return command.wait()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except TickerlakeError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
