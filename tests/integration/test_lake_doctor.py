"""`doctor` asks catalog and store, each by itself, and says which of them is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lakes import Place
from tickerlake.cli import main
from tickerlake.testing.services.process import free_ports

pytestmark = pytest.mark.xdist_group("lakes")


def checks(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    """What doctor says, by name."""
    main(["doctor", "--json", "--workspace", str(folder)])
    return {check["name"]: check for check in json.loads(capsys.readouterr().out)}


def test_both_answer(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is asked, the lake is probed, and no secret is shown."""
    found = checks(place.folder, capsys)
    assert {found[name]["state"] for name in ("store", "catalog", "lake")} == {"ok"}
    assert "secret" not in json.dumps(found)


@pytest.mark.parametrize("missing", ["store", "catalog"])
def test_one_is_not_there(place: Place, capsys: pytest.CaptureFixture[str], missing: str) -> None:
    """The one that does not answer is named, with what to do; the lake is not waited for."""
    settings = place.folder / "tickerlake.toml"
    before = "endpoint_url" if missing == "store" else "catalog"
    (port,) = free_ports(1)
    lines = settings.read_text().splitlines()
    changed = [_at_port(line, port) if line.startswith(before) else line for line in lines]
    settings.write_text("\n".join(changed))
    found = checks(place.folder, capsys)
    other = {"store": "catalog", "catalog": "store"}[missing]
    assert (found[missing]["state"], found[other]["state"]) == ("failed", "ok")
    assert found[missing]["todo"].startswith("see that")
    assert "lake" not in found


def _at_port(line: str, port: int) -> str:
    head, _, tail = line.rpartition(":")
    return f"{head}:{port}{tail.lstrip('0123456789')}"
