"""Whatever is packed holds the real page, or packing fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = "src/tickerlake/web/static"
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("page-build")]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The project's files as a fresh clone has them, with npm's packages already fetched."""
    subprocess.run([ROOT / "scripts" / "page", "build"], check=True, capture_output=True)
    clone = tmp_path / "clone"
    ignore = shutil.ignore_patterns("node_modules", "static", "__pycache__")
    for name in ("src", "web", "scripts"):
        shutil.copytree(ROOT / name, clone / name, ignore=ignore)
    for name in ("pyproject.toml", "hatch_build.py", "LICENSE", "README.md", ".gitignore"):
        shutil.copy(ROOT / name, clone / name)
    (clone / "web" / "node_modules").symlink_to(ROOT / "web" / "node_modules")
    return clone


def pack(folder: Path, target: str, out: Path) -> subprocess.CompletedProcess[str]:
    """Build a wheel or an sdist where no Node can be found on the PATH."""
    bare = out / "no-programs-here"
    bare.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)],
        cwd=folder,
        env={**os.environ, "PATH": str(bare)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_wheel_holds_the_real_page_without_node_on_the_machine(
    clone: Path, tmp_path: Path
) -> None:
    """A wheel built from a clone has the page and each asset that the page names."""
    done = pack(clone, "wheel", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        page = packed.read("tickerlake/web/static/index.html").decode()
        assets = [name for name in packed.namelist() if "/static/assets/" in name]
        scripts = [packed.read(name).decode() for name in assets if name.endswith(".js")]
    assert assets
    assert all(name.rsplit("/", 1)[-1] in page for name in assets if name.endswith(".js"))
    assert any("EventSource" in script for script in scripts)


def test_an_sdist_carries_the_built_page_so_that_its_wheel_needs_no_npm(
    clone: Path, tmp_path: Path
) -> None:
    """From an sdist a wheel is built with no npm packages at hand, and holds the same page."""
    done = pack(clone, "sdist", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (sdist,) = (tmp_path / "out").glob("*.tar.gz")
    with tarfile.open(sdist) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert not (unpacked / "web" / "node_modules").exists()
    done = pack(unpacked, "wheel", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert not (unpacked / "web" / "node_modules").exists()
    (wheel,) = (tmp_path / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as packed_wheel:
        page = packed_wheel.read("tickerlake/web/static/index.html")
    assert page == (clone / PAGE / "index.html").read_bytes()


def test_a_page_that_cannot_be_built_fails_the_build(clone: Path, tmp_path: Path) -> None:
    """A mistake in the page's source makes no wheel, and no old page is packed in its stead."""
    assert pack(clone, "wheel", tmp_path / "good").returncode == 0
    with (clone / "web" / "src" / "main.ts").open("a") as source:
        source.write("\nthis is no TypeScript (\n")
    done = pack(clone, "wheel", tmp_path / "bad")
    assert done.returncode != 0
    assert "main.ts" in done.stderr + done.stdout
    assert not list((tmp_path / "bad").glob("*.whl"))


def test_an_unchanged_page_is_not_built_again(clone: Path, tmp_path: Path) -> None:
    """The second build of the same sources leaves the built page as it is."""
    assert pack(clone, "wheel", tmp_path / "first").returncode == 0
    built = (clone / PAGE / "index.html").stat()
    assert pack(clone, "wheel", tmp_path / "second").returncode == 0
    again = (clone / PAGE / "index.html").stat()
    assert (built.st_ino, built.st_mtime_ns) == (again.st_ino, again.st_mtime_ns)
