"""The style guide is a test: what STYLE asks for and a machine can see."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import tickerlake

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
OURS = (
    SOURCES + sorted((ROOT / "tests").rglob("*.py")) + sorted((ROOT / "benchmarks").rglob("*.py"))
)
LINES_PER_FILE_MAX = 500
LINES_PER_FUNCTION_MAX = 70


def modules() -> list[str]:
    found = [
        info.name
        for info in pkgutil.walk_packages(tickerlake.__path__, "tickerlake.")
        if not info.name.endswith("__main__")
    ]
    return ["tickerlake", *found]


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_one_idea_per_file(path: Path) -> None:
    """No file is longer than 500 lines and no function longer than 70; there are no exemptions."""
    text = path.read_text()
    assert len(text.splitlines()) <= LINES_PER_FILE_MAX
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > LINES_PER_FUNCTION_MAX
    ]
    assert not long


def _rank(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: the order that the linter keeps too."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("name", modules())
def test_public_names_are_sorted_documented_and_there(name: str) -> None:
    """Every module says what is public; the list is sorted; each public name has a docstring."""
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    public = list(getattr(module, "__all__", []))
    assert public == sorted(public, key=_rank), f"{name}.__all__ is not sorted"
    for public_name in public:
        thing = getattr(module, public_name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), f"{name}.{public_name} has no docstring"


def test_every_error_is_on_the_tree() -> None:
    """Each exception class that we define ends in Error and stands on the one tree."""
    from tickerlake import errors

    for name in modules():
        module = importlib.import_module(name)
        for thing in vars(module).values():
            if inspect.isclass(thing) and issubclass(thing, Exception) and thing.__module__ == name:
                assert thing.__name__.endswith("Error"), thing
                assert issubclass(thing, errors.TickerlakeError), thing
    drawn = errors.__doc__ or ""
    for name in errors.__all__:
        assert name in drawn, f"{name} is missing from the drawing on top of errors.py"


def test_no_address_of_a_registry_and_no_path_of_a_machine() -> None:
    """Files hold no registry host, no absolute path of the machine that wrote them."""
    bad = (
        "pypi." + "org",
        "npmjs." + "org",
        "files.python" + "hosted",
        "/wo" + "rk/",
        "/ro" + "ot/",
    )
    skip = {".git", ".venv", ".venvs", "node_modules", "static"}
    for path in ROOT.rglob("*"):
        parts = set(path.relative_to(ROOT).parts)
        if path.is_file() and not parts & skip and path.suffix in {
            ".py", ".toml", ".txt", ".md", ".json", ".ts", ".html", ".css", ".yml", ".yaml", "",
        }:  # fmt: skip
            if any(part.startswith(".") and part != ".ci" for part in parts):
                continue
            text = path.read_text(errors="ignore")
            for word in bad:
                assert word not in text, f"{path.relative_to(ROOT)} holds {word}"
