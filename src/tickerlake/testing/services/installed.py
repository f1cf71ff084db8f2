"""Where `make services` has put the programs that tests start."""

from __future__ import annotations

import os
from pathlib import Path

from tickerlake.errors import NotFoundError

__all__ = ["VARIABLE", "installed"]

VARIABLE = "TICKERLAKE_TEST_SERVICES"
_REPOSITORY = Path(__file__).resolve().parents[4]


def installed(*patterns: str) -> Path:
    """The first path below the folder of services that fits the pattern `a/b/…`.

    The folder is `.services` of the repository, or what `TICKERLAKE_TEST_SERVICES` names.

    Raises:
        NotFoundError: It is not there; names the command that installs it.
    """
    folder = Path(os.environ.get(VARIABLE) or _REPOSITORY / ".services").resolve()
    pattern = "/".join(patterns)
    found = sorted(folder.glob(pattern)) if pattern else [folder]
    if not found or not found[0].exists():
        raise NotFoundError(
            "A program that this test starts is not installed.",
            expected=str(folder / pattern),
            todo=f"run `make services`, or name their folder in {VARIABLE}",
        )
    return found[0]
