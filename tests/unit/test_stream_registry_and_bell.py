"""Streams of other packages, and waiting where the system cannot ring."""

from __future__ import annotations

import importlib
import threading
from pathlib import Path

import pytest

from tickerlake.errors import ConfigError
from tickerlake.streams import StreamsSettings, open_stream
from tickerlake.streams.doorbell import bell_for
from tickerlake.streams.registry import schemes

PIGEON = """
def fly(url, *, workspace, settings):
    return (url, workspace, settings.partitions)
"""


def test_a_package_adds_a_stream_by_its_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry point is all that it takes; what is not known names what is."""
    (tmp_path / "pigeon_stream.py").write_text(PIGEON)
    metadata = tmp_path / "pigeon-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeon\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[tickerlake.streams]\npigeon = pigeon_stream:fly\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert schemes() == ["embedded", "kafka", "kinesis", "pigeon"]
    settings = StreamsSettings(partitions=2)
    opened = open_stream("pigeon://loft/market", workspace=tmp_path, settings=settings)
    assert opened == ("pigeon://loft/market", tmp_path, 2)
    with pytest.raises(ConfigError, match="kinesis: or pigeon:"):
        open_stream("raven://tower", workspace=tmp_path, settings=settings)


def test_a_bell_rings_when_a_file_was_written(tmp_path: Path) -> None:
    """Whoever waits is woken by the close of a file that was open for writing."""
    path = tmp_path / "written"
    path.touch()
    bell = bell_for(path)
    woken = threading.Event()

    def listen() -> None:
        bell.wait(60)
        woken.set()

    listener = threading.Thread(target=listen)
    listener.start()
    path.write_text("news")
    assert woken.wait(30)
    listener.join()
    bell.close()


def test_where_nothing_rings_it_is_soon_time_to_look(tmp_path: Path) -> None:
    """Without a file to listen to (or a system that tells), waiting is a short pause."""
    bell = bell_for(tmp_path / "missing")
    for _ in range(20):
        bell.wait(60)
    bell.close()
