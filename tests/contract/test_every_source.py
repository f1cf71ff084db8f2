"""Every source that is registered is whole: its suites, its seeds, and no word with another one.

What is missing of a new one is said here by its name; its page is asked for by
tests/unit/test_docs_of_sources.py.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tickerlake.sources
from seeds import frames, payloads
from tickerlake.sources import Live, names
from tickerlake.sources.registry import source_class

HERE = Path(__file__).parent
SOURCES = Path(str(tickerlake.sources.__file__)).parent
#: It plays the frames of the others, which have suites of their own.
PLAYER = "capture"
PROVIDERS = [name for name in names() if name != PLAYER]


def suites(kind: str) -> set[str]:
    """The classes of the contract tests that derive from a suite."""
    trees = (ast.parse(path.read_text()) for path in HERE.glob("test_*.py"))
    return {
        told.name
        for tree in trees
        for told in tree.body
        if isinstance(told, ast.ClassDef) and kind in {ast.unparse(base) for base in told.bases}
    }


@pytest.mark.parametrize("name", PROVIDERS)
def test_it_has_its_contract_suites(name: str) -> None:
    """A source with bars subclasses SourceSuite, one with a socket DialectSuite, by its name."""
    kind = source_class(name)
    stems = [f"Test{base.__name__.removesuffix('Source')}" for base in kind.__mro__]
    has_bars = "bar" in tickerlake.sources.open_source(name).limits.history
    if has_bars:
        assert stems[0] in suites("SourceSuite"), (
            f"tests/contract has no `class {stems[0]}(SourceSuite)`: the contract of {name}"
        )
    if issubclass(kind, Live):  # a source that is another one at another address shares its talk
        found = {suite for suite in suites("DialectSuite") if suite.startswith(tuple(stems[:2]))}
        assert found, f"tests/contract has no `class {stems[0]}(DialectSuite)`: the talk of {name}"


@pytest.mark.parametrize("name", PROVIDERS)
def test_it_has_seeds(name: str) -> None:
    """Fuzzing has a good answer to start from, and a talk where there is a socket."""
    assert payloads(name)
    if issubclass(source_class(name), Live):
        assert frames(name)


def modules() -> Iterator[tuple[str, str]]:
    """Each module of the sources and whose it is: `yahoo_chart` is of `yahoo`, most are of all."""
    owners = {source_class(name).__module__.rpartition(".")[2] for name in names()}
    for path in SOURCES.glob("*.py"):
        own = (o for o in owners if path.stem == o or path.stem.startswith(f"{o}_"))
        yield path.stem, max(own, key=len, default="")


def imported(path: Path) -> set[str]:
    """Modules of the sources that a file imports, wherever in it."""
    start = "tickerlake.sources."
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            told = [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
        elif isinstance(node, ast.Import):
            told = [name.name for name in node.names]
        else:
            continue
        found |= {one.removeprefix(start) for one in told if one.startswith(start)}
    return found


def test_providers_do_not_know_each_other() -> None:
    """What two of them share lies in a module that is of none: one file a provider can be read."""
    owner = dict(modules())
    for module, of in owner.items():
        for other in sorted(imported(SOURCES / f"{module}.py")):
            theirs = owner.get(other, "")
            assert not theirs or theirs == of, f"{module}.py imports {other}, which is {theirs}'s"


def test_what_is_missing_is_said_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that nobody has tested yet fails with what to write, and where."""

    class PlainBarsSource(source_class("sample")):  # type: ignore[misc]  # made as it runs
        """Registered, and nothing else."""

    registry = sys.modules["tickerlake.sources.registry"]
    known = registry._OURS | {"plainbars": f"{__name__}:PlainBarsSource"}
    monkeypatch.setattr(registry, "_OURS", known)
    monkeypatch.setattr(sys.modules[__name__], "PlainBarsSource", PlainBarsSource, raising=False)
    with pytest.raises(AssertionError, match=r"no `class TestPlainBars\(SourceSuite\)`"):
        test_it_has_its_contract_suites("plainbars")
    with pytest.raises(AssertionError, match=r"tests/seeds\.py has nothing of plainbars"):
        test_it_has_seeds("plainbars")
