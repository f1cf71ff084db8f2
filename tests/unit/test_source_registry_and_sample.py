"""Which sources there are, and the bundled sample."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest

from tickerlake.errors import ConfigError, MissingExtraError, RangeError
from tickerlake.sources import BarsRequest, Limits, open_source, registry, sample
from tickerlake.sources.settings import settings_from


@dataclass(frozen=True)
class AcmeSettings:
    """What an outside package's source can be told."""

    base_url: str = "https://acme.example"
    attempts: int = 3
    pace_seconds: float | None = None
    strict: bool = False
    columns: dict[str, str] = field(default_factory=dict)
    lengths: tuple[str, ...] = ()


class AcmeSource:
    """A source of an outside package, as its entry point names it."""

    name = "acme"
    limits = Limits()
    settings_type: ClassVar[type] = AcmeSettings

    def __init__(self, settings: AcmeSettings) -> None:
        self.settings = settings


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("acme", f"{__name__}:AcmeSource", registry.GROUP),
        EntryPoint("broken", "no_such_package_at_all:Source", registry.GROUP),
        EntryPoint("sample", "no_such_package_at_all:Source", registry.GROUP),
    ]
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    monkeypatch.setattr(registry, "entry_points", lambda group: points)


def test_ours_are_there() -> None:
    """The three sources that come with the package are listed."""
    assert {"files", "sample", "yahoo"} <= set(registry.names())


def test_an_unknown_name_names_the_nearest() -> None:
    """A misspelt source is a ConfigError that says which one was probably meant."""
    with pytest.raises(ConfigError, match="write 'yahoo'"):
        open_source("yaho")


@pytest.mark.usefixtures("acme")
def test_other_packages_add_sources() -> None:
    """A source of an outside package is found by its entry point and gets its settings."""
    assert "acme" in registry.names()
    source = open_source("acme", settings={"attempts": "5", "strict": "yes"})
    assert isinstance(source, AcmeSource)
    assert source.settings == AcmeSettings(attempts=5, strict=True)


@pytest.mark.usefixtures("acme")
def test_no_package_can_stand_in_for_ours() -> None:
    """An entry point with the name of one of ours is never loaded."""
    assert isinstance(open_source("sample"), sample.SampleSource)


@pytest.mark.usefixtures("acme")
def test_a_source_that_cannot_be_loaded_says_why() -> None:
    """An entry point to a missing module is a ConfigError naming it, not an ImportError."""
    with pytest.raises(ConfigError, match="no_such_package_at_all"):
        open_source("broken")


def test_texts_become_what_the_field_asks() -> None:
    """Values from environment variables are texts; the field's type says what they become."""
    texts = {
        "base_url": "http://x",
        "attempts": "7",
        "pace_seconds": "0.5",
        "strict": "off",
        "columns": "open=Px, volume=Qty",
        "lengths": "1m, 1s",
    }
    assert settings_from(AcmeSettings, texts, source="acme") == AcmeSettings(
        "http://x", 7, 0.5, False, {"open": "Px", "volume": "Qty"}, ("1m", "1s")
    )
    listed = settings_from(AcmeSettings, {"lengths": ["1m"]}, source="acme")
    assert listed == AcmeSettings(lengths=("1m",))
    assert settings_from(AcmeSettings, {"pace_seconds": "none"}, source="acme") == AcmeSettings()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"base_ulr": "x"}, "write 'base_url' instead"),
        ({"attempts": "many"}, "wrong type"),
        ({"attempts": True}, "wrong type"),
        ({"strict": "perhaps"}, "wrong type"),
        ({"base_url": 5}, "wrong type"),
        ({"columns": "open"}, "wrong type"),
        ({"lengths": [1]}, "wrong type"),
        ({"lengths": 1}, "wrong type"),
    ],
)
def test_a_wrong_setting_is_named(values: dict[str, object], message: str) -> None:
    """An unknown key names the nearest known one; a wrong type names the key."""
    with pytest.raises(ConfigError, match=message):
        settings_from(AcmeSettings, values, source="acme")


def test_the_sample_is_all_there() -> None:
    """Five symbols, 12,154 bars, first and last day of each as the package has them."""
    source = open_source("sample")
    counts = {}
    for symbol in source.symbols():
        bars = source.bars(BarsRequest(symbol)).bars
        days = bars["session_date"].to_pylist()
        counts[symbol] = (bars.num_rows, min(days).isoformat(), max(days).isoformat())
    assert counts == {
        "AAPL": (3270, "2000-03-01", "2013-03-01"),
        "FB": (196, "2012-05-18", "2013-03-01"),
        "GOOG": (2148, "2004-08-19", "2013-03-01"),
        "IBM": (3270, "2000-03-01", "2013-03-01"),
        "MSFT": (3270, "2000-03-01", "2013-03-01"),
    }
    assert sum(count for count, _, _ in counts.values()) == 12_154


def test_the_sample_says_when_it_was_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fetched_at` follows `TICKERLAKE_NOW`, like everything else that says "now"."""
    monkeypatch.setenv("TICKERLAKE_NOW", "2013-03-01T22:00:00Z")
    bars = open_source("sample").bars(BarsRequest("FB")).bars
    assert bars["fetched_at"][0].as_py().isoformat().startswith("2013-03-01T22:0")


def test_the_sample_is_found_without_importing_its_package() -> None:
    """Reading the sample never imports bokeh_sampledata, which would drag in pandas and more."""
    code = (
        "import sys; from tickerlake.sources import BarsRequest, open_source;"
        "print(open_source('sample').bars(BarsRequest('FB')).bars.num_rows,"
        "'bokeh_sampledata' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "False"


def test_a_missing_sample_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, the error names the pip command that installs it."""
    monkeypatch.setattr(sample, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tickerlake\[sample\]'"):
        open_source("sample").bars(BarsRequest("AAPL"))


def test_the_sample_has_days_only() -> None:
    """Another interval than 1d is a RangeError."""
    with pytest.raises(RangeError, match="no bars of 1m"):
        open_source("sample").bars(BarsRequest("AAPL", "1m"))
