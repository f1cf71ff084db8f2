"""Settings: who may say what, who wins, and what a mistake is answered with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tickerlake import config
from tickerlake.config.settings import every_setting, variable_of
from tickerlake.config.values import coerce, from_text
from tickerlake.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def workspace(folder: Path, text: str = "") -> Path:
    (folder / "tickerlake.toml").write_text(text)
    return folder


def load(
    folder: Path | None, flags: dict[str, object] | None = None, **variables: str
) -> config.Config:
    return config.load(folder, flags=flags, environment=variables)


def test_flags_win_over_environment_over_file_over_default(tmp_path: Path) -> None:
    """Each layer wins over the one below it, and each value remembers who said so."""
    folder = workspace(tmp_path, "[streams]\npartitions = 3\n")
    name = "streams.partitions"

    default = load(None)
    assert (default.settings.streams.partitions, default.origins[name]) == (6, "default")
    file = load(folder)
    assert (file.settings.streams.partitions, file.origins[name]) == (3, "tickerlake.toml")
    variable = load(folder, TICKERLAKE_STREAMS_PARTITIONS="4")
    assert variable.settings.streams.partitions == 4
    assert variable.origins[name] == "TICKERLAKE_STREAMS_PARTITIONS"
    flag = load(folder, {name: 5}, TICKERLAKE_STREAMS_PARTITIONS="4")
    assert (flag.settings.streams.partitions, flag.origins[name]) == (5, "--partitions")


@pytest.mark.parametrize(
    "text",
    [
        "[streams]\npartitions = 0\n",
        "[delivery]\nworkers = 0\n",
        "[tables]\nsweep_age_hours = 0\n",
        "[delivery]\nflush_seconds = -0.5\n",
        "[web]\nport = -1\n",
    ],
)
def test_a_number_too_small_to_work_with_is_refused(tmp_path: Path, text: str) -> None:
    """In file, variable and flag alike, before anything is made with it."""
    room, key, _, value = text.replace("[", "").replace("]", "").split()
    with pytest.raises(ConfigError, match=rf"{key} in .* too small"):
        load(workspace(tmp_path, text))
    variable = f"TICKERLAKE_{room}_{key}".upper()
    with pytest.raises(ConfigError, match=f"{variable} is too small"):
        load(None, **{variable: value})
    with pytest.raises(ConfigError, match="too small"):
        load(None, {f"{room}.{key}": float(value) if "." in value else int(value)})


@pytest.mark.parametrize(
    ("text", "key", "suggestion"),
    [
        ("[streams]\npartitons = 3\n", "partitons", "partitions"),
        ('steam = "embedded:"\n', "steam", "stream"),
        ("[stream_s]\npartitions = 3\n", "stream_s", "stream"),
    ],
)
def test_an_unknown_key_names_the_nearest(
    tmp_path: Path, text: str, key: str, suggestion: str
) -> None:
    """A key that nobody knows is refused, naming the file, the key, and the nearest known one."""
    with pytest.raises(ConfigError) as caught:
        load(workspace(tmp_path, text))
    said = str(caught.value)
    assert "tickerlake.toml" in said
    assert repr(key) in said
    assert f"did you mean '{suggestion}" in said


@pytest.mark.parametrize(
    ("text", "where", "expected"),
    [
        ('[streams]\npartitions = "six"\n', "[streams] partitions", "a whole number"),
        ("[streams]\npartitions = true\n", "[streams] partitions", "a whole number"),
        (
            '[streams]\nwire = "xml"\n',
            "[streams] wire",
            "'json' or 'arrow' or 'avro' or 'json_schema'",
        ),
        ("stream = 7\n", "stream in", "text"),
        ("[streams]\nretention_hours = nan\n", "retention_hours", "a number"),
        ("streams = 3\n", "[streams]", "its keys below it"),
    ],
)
def test_a_wrong_type_names_file_and_key(
    tmp_path: Path, text: str, where: str, expected: str
) -> None:
    """A value of the wrong type is refused, naming the file, the key, and what was expected."""
    with pytest.raises(ConfigError) as caught:
        load(workspace(tmp_path, text))
    said = str(caught.value)
    assert "tickerlake.toml" in said
    assert where in said
    assert expected in said


def test_a_file_that_is_no_toml_names_the_line(tmp_path: Path) -> None:
    """A broken file is refused with its path and the place in it."""
    with pytest.raises(ConfigError, match="line 2"):
        load(workspace(tmp_path, "[streams]\npartitions = = 3\n"))


def test_variables_are_read_as_the_settings_type() -> None:
    """Text of the environment becomes numbers, truth and choices; `none` unsets."""
    said = load(
        None,
        TICKERLAKE_STREAMS_WIRE="json",
        TICKERLAKE_STREAMS_RETENTION_HOURS="1.5",
        TICKERLAKE_STREAMS_RETENTION_BYTES="none",
        TICKERLAKE_STREAMS_RETENTION_DROPS_UNDELIVERED="yes",
    ).settings.streams
    assert said.wire == "json"
    assert said.retention_hours == 1.5
    assert said.retention_bytes is None
    assert said.retention_drops_undelivered is True
    with pytest.raises(ConfigError, match="TICKERLAKE_STREAMS_PARTITIONS"):
        load(None, TICKERLAKE_STREAMS_PARTITIONS="many")


def test_an_unknown_variable_is_refused_and_reserved_ones_are_not() -> None:
    """A misspelt variable does not pass silently; those with a meaning of their own do."""
    with pytest.raises(ConfigError, match="did you mean 'TICKERLAKE_STREAMS_PARTITIONS'"):
        load(None, TICKERLAKE_STREAMS_PARTITION="3")
    load(
        None,
        TICKERLAKE_NOW="2013-03-01T00:00:00Z",
        TICKERLAKE_WORKSPACE="/somewhere",
        TICKERLAKE_TEST_KAFKA="localhost:9092",
    )


def test_sources_are_open_to_what_a_provider_understands(tmp_path: Path) -> None:
    """`[sources.NAME]` takes the provider's keys; a variable wins; an unknown one is refused."""
    folder = workspace(tmp_path, '[sources.files]\npath = "a.csv"\ndelimiter = ";"\n')
    said = load(folder, TICKERLAKE_SOURCES_FILES_PATH="b.csv")
    assert said.settings.sources["files"] == {"path": "b.csv", "delimiter": ";"}
    assert said.origins["sources.files.path"] == "TICKERLAKE_SOURCES_FILES_PATH"
    with pytest.raises(ConfigError, match="delimiter"):
        load(workspace(tmp_path, '[sources.files]\ndelimeter = ";"\n'))
    with pytest.raises(ConfigError, match="did you mean 'yahoo'"):
        load(workspace(tmp_path, '[sources.yahooo]\nbase_url = "http://a"\n'))


def test_a_variable_of_a_source_that_is_not_there_is_a_warning() -> None:
    """A key that lies around for another provider stops nobody, but is said."""
    assert "ACME" in load(None, TICKERLAKE_SOURCES_ACME_API_KEY="x").warnings[0]


def test_secrets_are_masked_and_do_not_live_in_the_file(tmp_path: Path) -> None:
    """A key from the environment is never shown; one in the file is refused."""
    said = load(
        None,
        TICKERLAKE_WEB_TOKEN="hush" * 4,
        TICKERLAKE_CATALOG="postgresql://me:hush@db/lake",
    )
    shown = {name: value for name, value, _ in said.shown()}
    assert "hush" not in str(shown)
    assert shown["catalog"].startswith("postgresql://me:")
    assert said.settings.web.token.endswith("hush")
    with pytest.raises(ConfigError, match="TICKERLAKE_SOURCES_YAHOO_API_KEY"):
        load(workspace(tmp_path, '[sources.yahoo]\napi_key = "hush"\n'))


def test_the_workspace_is_the_nearest_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The current folder or the nearest above counts; a variable wins over it, a name over both."""
    monkeypatch.delenv("TICKERLAKE_WORKSPACE", raising=False)
    outer, other, third = (tmp_path / name for name in ("outer", "other", "third"))
    for folder in (outer, other, third):
        config.make_workspace(folder)
    (outer / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(outer / "a" / "b")
    assert config.find_workspace() == outer
    monkeypatch.setenv("TICKERLAKE_WORKSPACE", str(other))
    assert config.find_workspace() == other
    assert config.find_workspace(third) == third


def test_no_workspace_names_the_way_to_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside a workspace, and for a folder that is none, the message names `tickerlake init`."""
    monkeypatch.delenv("TICKERLAKE_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)
    for explicit in (None, tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ConfigError, match="tickerlake init"):
            config.find_workspace(explicit)


def test_init_makes_a_workspace_once(tmp_path: Path) -> None:
    """A second `init` changes nothing; what it wrote holds only defaults."""
    folder, made = config.make_workspace(tmp_path / "new")
    assert made
    assert load(folder).settings == load(None).settings
    workspace(folder, "[streams]\npartitions = 3\n")
    assert config.make_workspace(folder) == (folder, False)
    assert load(folder).settings.streams.partitions == 3


def test_a_table_inside_a_table_is_filled_like_any_other(tmp_path: Path) -> None:
    """`[streams.bars]` has a variable and a flag a key, a default, and nearest names."""
    folder = workspace(tmp_path, '[streams]\npartitions = 3\n[streams.bars]\ntopic = "prices"\n')
    said = load(folder)
    assert said.settings.streams.bars.topic == "prices"
    assert said.settings.streams.of("bar") == said.settings.streams.bars
    assert said.settings.streams.trades.topic is None
    assert said.settings.streams.partitions == 3
    assert ("streams.bars.topic", "prices", "tickerlake.toml") in list(said.shown())
    variable = load(folder, TICKERLAKE_STREAMS_BARS_TOPIC="from.variable")
    assert variable.settings.streams.bars.topic == "from.variable"
    flag = load(folder, {"streams.bars.topic": "from.flag"}, TICKERLAKE_STREAMS_BARS_TOPIC="x")
    assert flag.settings.streams.bars.topic == "from.flag"
    for text, expected in (
        ('[streams.bars]\ntopics = "x"\n', "'topics' in [streams.bars].*did you mean 'topic'"),
        ("[streams.bar]\n", "'bar' in [streams].*did you mean 'bars'"),
        ("[streams]\nbars = 3\n", "[streams.bars]"),
        ("[streams.bars]\ntopic = 3\n", "[streams.bars] topic in"),
    ):
        with pytest.raises(ConfigError, match="(?s)" + expected.replace("[", r"\[")):
            load(workspace(tmp_path, text))


def test_a_secret_comes_from_a_variable_or_a_file_and_is_never_shown(tmp_path: Path) -> None:
    """Its own text is refused in tickerlake.toml; a file's may be named there, or by a variable."""
    secret = "a token of sixteen and more"  # noqa: S105 - nobody's
    (tmp_path / "token").write_text(secret + "\n")
    named = load(workspace(tmp_path, '[web]\ntoken_file = "token"\n'))
    by_variable = load(workspace(tmp_path), TICKERLAKE_WEB_TOKEN_FILE=str(tmp_path / "token"))
    plain = load(tmp_path, TICKERLAKE_WEB_TOKEN=secret)
    for said in (named, by_variable, plain):
        assert said.settings.web.token == secret
        assert secret not in repr(list(said.shown()))
    assert named.origins["web.token"] == "tickerlake.toml"
    with pytest.raises(ConfigError, match="TICKERLAKE_WEB_TOKEN, or token_file") as caught:
        load(workspace(tmp_path, f'[web]\ntoken = "{secret}"\n'))
    assert secret not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(workspace(tmp_path, '[web]\ntoken_file = "nowhere"\n'))
    with pytest.raises(ConfigError, match="unknown key 'host_file'"):
        load(workspace(tmp_path, '[web]\nhost_file = "token"\n'))


def test_an_open_table_holds_texts_by_name() -> None:
    """A setting that is a mapping: a table in the file, `name=text` with commas in a variable."""
    hint = Mapping[str, str]
    assert coerce({"open": "Open"}, hint, where="x", least=1) == {"open": "Open"}
    text = "open=Open, adj_close = Adj Close"
    expected = {"open": "Open", "adj_close": "Adj Close"}
    assert from_text(text, hint, where="x", least=1) == expected
    for wrong in ({"open": 3}, "open", ["open"]):
        with pytest.raises(ConfigError, match="a table, each text"):
            coerce(wrong, hint, where="x", least=1)


def test_no_two_settings_share_a_variable() -> None:
    """A dotted name and one with an underscore could otherwise mean the same variable."""
    variables = [variable_of(setting.name) for setting in every_setting()]
    variables += [f"{variable_of(one.name)}_FILE" for one in every_setting() if one.secret]
    assert len(set(variables)) == len(variables)


def test_the_page_says_what_the_settings_are() -> None:
    """docs/configuration.md names each key, variable, default and meaning; a script writes it."""
    script = [sys.executable, ROOT / "scripts" / "settings.py", "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert "`TICKERLAKE_STREAMS_PARTITIONS` | 6 |" in page
    assert "|  |" not in page, "a setting without a comment"
