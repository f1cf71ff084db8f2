"""Every Python and shell block of the documentation is run, page by page, as a reader would."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What a reader does in the checkout itself, and what CI does anyway: not run a second time here.
IN_THE_CHECKOUT = ("make ", "git clone", "pip install", "cd tickerlake")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block and the line that it starts at."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(m[1], m[2], text[: m.start()].count("\n") + 1)
        for m in FENCE.finditer(text)
        if m[1] in {"python", "bash", "sh", "shell"}
    ]


def runnable(page: Path) -> list[Block]:
    found = []
    for block in blocks(page):
        lines = block.text.splitlines()
        if block.language != "python":
            lines = [line for line in lines if not line.startswith(IN_THE_CHECKOUT)]
        if any(line.strip() and not line.lstrip().startswith("#") for line in lines):
            found.append(Block(block.language, "\n".join(lines) + "\n", block.line))
    return found


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `reader` in which `tickerlake demo --once` was run, and a copy of it beside."""
    folder = tmp_path_factory.mktemp("docs") / "reader"
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-m", "tickerlake", "demo", "--once"],
        cwd=folder,
        env=reader_environment(),
        check=True,
        timeout=120,
        capture_output=True,
    )
    shutil.copytree(folder, folder.with_name("pristine"))
    return folder


@pytest.fixture
def reader(pristine: Path) -> Path:
    """The folder as the demo left it, always at the same place: the lake's paths are absolute."""
    shutil.rmtree(pristine)
    shutil.copytree(pristine.with_name("pristine"), pristine)
    return pristine


def reader_environment() -> dict[str, str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TICKERLAKE_")}
    here = str(Path(sys.executable).parent)
    return environment | {
        "PATH": f"{here}{os.pathsep}{environment['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
    }


@pytest.mark.slow
@pytest.mark.xdist_group("docs")
@pytest.mark.parametrize(
    # A how-to page needs a service: each has a test of its own that follows it over a real one.
    "page",
    [p for p in PAGES if runnable(p) and p.parent.name != "howto"],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_each_block_runs(page: Path, reader: Path) -> None:
    """A page's blocks, in their order, in a folder where the demo was run, all succeed."""
    name = str(page.relative_to(ROOT))
    told = json.dumps([[b.language, b.text, f"{name}:{b.line}"] for b in runnable(page)])
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "page_reader.py")],
        input=told,
        cwd=reader,
        env=reader_environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_links_lead_somewhere() -> None:
    """Each relative link of a page leads to a file that is there."""
    broken = [
        f"{page.relative_to(ROOT)} → {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not broken


def test_every_decision_is_listed() -> None:
    """The list of decisions names each of them, and each says its number in its title."""
    folder = ROOT / "docs" / "adr"
    listed = (folder / "README.md").read_text()
    for page in sorted(folder.glob("[0-9]*.md")):
        assert f"]({page.name})" in listed, f"docs/adr/README.md does not list {page.name}"
        assert page.read_text().startswith(f"# {page.name[:4]}: ")
