"""Which folder is the workspace: the nearest one that holds `tickerlake.toml`."""

from __future__ import annotations

import os
from pathlib import Path

from tickerlake.errors import ConfigError

__all__ = ["FILE_NAME", "find_workspace", "make_workspace"]

FILE_NAME = "tickerlake.toml"
_VARIABLE = "TICKERLAKE_WORKSPACE"


def find_workspace(explicit: str | os.PathLike[str] | None = None) -> Path:
    """The workspace's folder, absolute.

    `explicit` wins over `TICKERLAKE_WORKSPACE`, which wins over the current folder and the
    nearest above it.

    Raises:
        ConfigError: There is none; the message names `tickerlake init`.
    """
    if explicit is not None:
        return _checked(Path(explicit), named_by="--workspace")
    from_environment = os.environ.get(_VARIABLE)
    if from_environment:
        return _checked(Path(from_environment), named_by=_VARIABLE)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE_NAME).is_file():
            return folder
    raise ConfigError(
        f"There is no workspace here: no {FILE_NAME} in this folder or above it.",
        found=str(here),
        todo="run `tickerlake init` to make one here, or name one with --workspace DIR",
    )


def _checked(folder: Path, *, named_by: str) -> Path:
    folder = folder.expanduser().resolve()
    if (folder / FILE_NAME).is_file():
        return folder
    what = f"it holds no {FILE_NAME}" if folder.is_dir() else "there is no such folder"
    raise ConfigError(
        f"{folder} is not a workspace: {what}.",
        expected=f"a folder with {FILE_NAME}, as named by {named_by}",
        todo=f"run `tickerlake init {folder}` to make one, or name another folder",
    )


_STARTER = """\
# A tickerlake workspace. What is not written here has its default;
# `tickerlake config show` prints each setting and where it came from.

# stream = "embedded:"     # where records flow: a log inside this folder
# lake = "./lake"          # where tables lie
# catalog = "sqlite:"      # who knows the tables' newest state
# engine = "duckdb"        # who answers SQL
"""


def make_workspace(folder: Path) -> tuple[Path, bool]:
    """Make a folder a workspace; returns it, and whether it was none before.

    Raises:
        ConfigError: There is a file of that name, or the folder cannot be made.
    """
    folder = folder.expanduser().resolve()
    path = folder / FILE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(_STARTER)
    except FileExistsError as error:
        if folder.is_dir():
            return folder, False
        raise ConfigError(
            f"{folder} cannot be a workspace: it is a file.", todo="name a folder"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"A workspace cannot be made in {folder}: {error.strerror}.",
            todo="name a folder that you may write to",
        ) from error
    return folder, True
