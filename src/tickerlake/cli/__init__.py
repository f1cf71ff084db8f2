"""The command line: one file per verb, none of which is imported before it is called."""

from tickerlake.cli.main import main

__all__ = ["main"]
