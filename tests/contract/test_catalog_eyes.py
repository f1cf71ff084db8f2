"""The judge sees what the lake has written, wherever that is, with none of the lake's code."""

from __future__ import annotations

import json

import pytest

from lakes import PAIRS, Place
from tickerlake.testing.lake_suite import STREAM, deliver

pytestmark = pytest.mark.xdist_group("lakes")


@pytest.mark.parametrize("pair", ["sqlite_local", *PAIRS])
def test_the_newest_state_is_seen(request: pytest.FixtureRequest, pair: str) -> None:
    """Pointer and files of a table, as they are after each commit; and that there is no other."""
    place: Place = request.getfixturevalue(pair)
    table, eyes = place.open().table("bars_log"), place.eyes()
    for offset in (10, 20):
        deliver(table, 10)
        pointer = eyes.pointer("bars_log")
        assert pointer == table.load().metadata_location
        with eyes.io().new_input(pointer).open() as file:
            properties = json.loads(file.read())["properties"]
        assert properties[f"tickerlake.offset.{STREAM}.0"] == str(offset)
    assert eyes.pointer("trades_log") is None
