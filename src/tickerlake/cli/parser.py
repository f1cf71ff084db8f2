"""The tree of arguments. Only the verb that is called fills in its own."""

from __future__ import annotations

import argparse
import difflib
import importlib
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NoReturn

import tickerlake
from tickerlake.cli.registry import VERBS
from tickerlake.errors import UsageError

__all__ = ["Parser", "add_global_flags", "build_parser"]

_TEXTS = ("workspace", "stream", "lake", "catalog", "engine", "log_format", "log_level")
_EVERYWHERE = {*_TEXTS, "json", "debug"}
_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)")


class _Help(argparse.HelpFormatter):
    """Help as wide as a page, whose first lines leave out what every verb takes."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=96)

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[Any],
        prefix: str | None = None,
    ) -> None:
        own = [action for action in actions if action.dest not in _EVERYWHERE]
        super().add_usage(usage, own, groups, prefix)


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are our errors, with what to do."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - as argparse takes them
        ours: dict[str, Any] = {"formatter_class": _Help, "allow_abbrev": False}
        super().__init__(**(ours | options))
        self._is_mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401
        """As argparse does it, but words of one list may stand apart: `AAPL --source x MSFT`."""
        many = any(action.nargs in {"*", "+"} for action in self._get_positional_actions())
        if self._is_mixing or not many:
            return super().parse_known_args(args, namespace)
        self._is_mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_mixing = False

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and name the help of just this verb."""
        todo = f"see `{self.prog} --help`"
        choice = _CHOICE.search(message)
        if choice:
            known = re.findall(r"[\w-]+", choice[2])
            close = difflib.get_close_matches(choice[1], known, n=1)
            message = f"{self.prog} knows no {choice[1]!r}."
            todo = f"did you mean {close[0]!r}? Else {todo}" if close else todo
            raise UsageError(message, todo=todo)
        raise UsageError(f"{message[0].upper()}{message[1:]}.", todo=todo)


def build_parser(fill: Collection[str]) -> Parser:
    """The whole tree; only verbs named in `fill` import their file and know their arguments."""
    parser = Parser(
        prog="tickerlake",
        description=tickerlake.__doc__,
        epilog="`tickerlake VERB --help` explains a verb. Start with `tickerlake demo`.",
    )
    parser.add_argument(
        "--version", action="version", version=f"tickerlake {tickerlake.__version__}"
    )
    # `main` takes it out; here it is so that the completion itself knows it.
    parser.add_argument("--print-completion", metavar="SHELL", help=argparse.SUPPRESS)
    add_global_flags(parser)
    parser.set_defaults(**dict.fromkeys(_TEXTS), json=False, debug=False)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", required=True)
    for verb in VERBS:
        child = verbs.add_parser(
            verb.name,
            help=verb.help,
            description=f"{verb.help[0].upper()}{verb.help[1:]}.",
        )
        if verb.name in fill:
            importlib.import_module(verb.module).add_arguments(child)
            for parser_below in [child, *_below(child)]:
                add_global_flags(parser_below)
    return parser


def add_global_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that stand before or after the verb alike (so: no default that hides the other)."""
    group = parser.add_argument_group("everywhere")

    def flag(name: str, metavar: str, text: str, choices: Sequence[str] | None = None) -> None:
        group.add_argument(
            name, metavar=metavar, default=argparse.SUPPRESS, help=text, choices=choices
        )

    flag("--workspace", "DIR", "folder with tickerlake.toml (default: here or nearest above)")
    flag("--stream", "URL", "where records flow")
    flag("--lake", "URL", "where tables lie")
    flag("--catalog", "URL", "who knows the tables' newest state")
    flag("--engine", "NAME", "who answers SQL")
    flag("--log-format", "FORM", "stderr as text (default) or json", ("text", "json"))
    flag(
        "--log-level",
        "LEVEL",
        "tell debug, info (default), warning or error and above",
        ("debug", "info", "warning", "error"),
    )
    for name, text in (
        ("--json", "JSON on stdout, all else on stderr"),
        ("--debug", "show tracebacks"),
    ):
        group.add_argument(name, action="store_true", default=argparse.SUPPRESS, help=text)


def _below(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    found: list[argparse.ArgumentParser] = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to walk its tree
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for child in action.choices.values():
                found += [child, *_below(child)]
    return found
