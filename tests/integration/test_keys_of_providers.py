"""How a provider's key gets to it: a variable, a file, the keyring; under its old name, too."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tickerlake import app, config
from tickerlake.cli import main
from tickerlake.errors import ConfigError
from tickerlake.sources import Source
from tickerlake.sources.massive import MassiveSource

SECRET = "nobodys-key-x9"  # noqa: S105 - nobody's


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder, _ = config.make_workspace(tmp_path / "one")
    return folder


def settings_file(workspace: Path, text: str) -> None:
    (workspace / "tickerlake.toml").write_text(text)


def key(workspace: Path, name: str = "massive") -> str:
    with app.open(workspace) as opened:
        source: Source = opened.provider(name)
        assert isinstance(source, MassiveSource)
        assert SECRET not in str(list(opened.config.shown()))
        return source.key()


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `keyring` whose answer a test writes: the body of its `get_password`."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "site").mkdir()
    monkeypatch.delitem(sys.modules, "keyring", raising=False)
    return tmp_path / "site" / "keyring.py"


def test_a_file_may_hold_the_key(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named by the variable with _FILE, as the pages of the providers say, or in the settings."""
    (tmp_path / "key").write_text(SECRET + "\n")
    with monkeypatch.context() as patch:
        patch.setenv("TICKERLAKE_SOURCES_MASSIVE_API_KEY_FILE", str(tmp_path / "key"))
        assert key(workspace) == SECRET
    settings_file(workspace, '[sources.massive]\napi_key_file = "../key"\n')
    assert key(workspace) == SECRET
    settings_file(workspace, '[sources.massive]\napi_key_file = "../nowhere"\n')
    with pytest.raises(ConfigError, match="cannot be read"):
        key(workspace)


def test_blanks_that_were_copied_with_a_key_do_no_harm(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No header may begin or end with a blank: it looked as if nobody answered."""
    monkeypatch.setenv("TICKERLAKE_SOURCES_MASSIVE_API_KEY", f" {SECRET}\t\n")
    assert key(workspace) == SECRET


def test_a_machine_without_a_keyring_has_none(workspace: Path, keyring: Path) -> None:
    """The package alone, as on most servers, is as if it were not there."""
    keyring.write_text(
        "class NoKeyringError(RuntimeError): pass\n"
        "def get_password(service, name): raise NoKeyringError('No recommended backend')\n"
    )
    with pytest.raises(ConfigError, match="TICKERLAKE_SOURCES_MASSIVE_API_KEY"):
        key(workspace)


def test_a_locked_keyring_says_so(
    workspace: Path, keyring: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no bug of ours, and sources without a key do not need it."""
    keyring.write_text("def get_password(service, name): raise OSError('it is locked')\n")
    with pytest.raises(ConfigError, match=r"keyring cannot be read(?s:.*)it is locked"):
        key(workspace)
    ask = ["fetch", "IBM", "--source", "sample", "--start", "2013-01-01"]
    assert main([*ask, "--workspace", str(workspace)]) == 0, capsys.readouterr().err


def test_a_former_name_is_the_same_source(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`polygon` is `massive`: its table, its variables, its key, and on the command line."""
    monkeypatch.setenv("TICKERLAKE_SOURCES_POLYGON_API_KEY", SECRET)
    settings_file(workspace, "[sources.polygon]\nadjusted = true\n")
    with app.open(workspace) as opened:
        assert not opened.config.warnings
        assert opened.source("polygon").limits.price_basis == "splits"
    assert key(workspace, "polygon") == key(workspace, "massive") == SECRET
    ask = ["fetch", "AAPL", "--source", "polygon", "--start", "2024-01-02", "--plan", "--json"]
    assert main([*ask, "--workspace", str(workspace)]) == 0
    assert '"source": "massive"' in capsys.readouterr().out
