"""`dead-letters`: records that could not enter, and what becomes of them."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from tickerlake.cli.arguments import open_workspace, positive
from tickerlake.cli.output import Output
from tickerlake.errors import MalformedError, UsageError

if TYPE_CHECKING:
    from tickerlake.app import Workspace
    from tickerlake.delivery.dead_letters import Letter

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """List, show, requeue, discard."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="every letter with its reason")
    listing.add_argument(
        "--status",
        choices=("open", "requeued", "discarded", "all"),
        default="all",
        help="only these (default: all)",
    )
    listing.add_argument("--limit", metavar="N", type=positive, help="at most so many, newest last")
    _one(actions.add_parser("show", help="one letter with its payload"))
    requeue = actions.add_parser("requeue", help="publish a letter's record again, mended")
    _one(requeue)
    requeue.add_argument(
        "--set",
        metavar="COLUMN=VALUE",
        action="append",
        default=[],
        dest="changes",
        help="mend a value before it is published; may be given several times",
    )
    discard = actions.add_parser("discard", help="note that nothing will come of a letter")
    _one(discard)
    discard.add_argument("--why", metavar="TEXT", default="", help="the reason, for later readers")


def _one(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="as `dead-letters list` prints it")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Do what the action says."""
    from tickerlake.delivery import dead_letters

    with open_workspace(arguments, output) as workspace:
        if arguments.action == "list":
            status = None if arguments.status == "all" else arguments.status
            letters = dead_letters.list_(workspace.lake, status=status)
            _list(letters, arguments.limit, output)
        elif arguments.action == "show":
            _show(dead_letters.show(workspace.lake, arguments.id), output)
        elif arguments.action == "discard":
            letter = dead_letters.discard(workspace.lake, arguments.id, arguments.why)
            _said(output, {"id": letter.id, "status": letter.status}, f"Discarded {letter.id}.")
        else:
            _requeue(workspace, arguments.id, arguments.changes, output)
    return 0


def _list(letters: list[Letter], limit: int | None, output: Output) -> None:
    shown = letters[-limit:] if limit else letters
    if output.json_mode:
        output.document([_as_object(letter) for letter in shown])
    elif not shown:
        output.result("No dead letters.")
    else:
        output.table(
            ("id", "kind", "symbol", "ts", "status", "reason"),
            [(x.id, x.kind, x.symbol, x.ts, x.status, x.reason) for x in shown],
        )
        if len(shown) < len(letters):
            output.note(f"{len(letters) - len(shown):,} older ones are not shown.")


def _show(letter: Letter, output: Output) -> None:
    fields = _as_object(letter)
    if output.json_mode:
        output.document(fields)
    else:
        output.table(("field", "value"), list(fields.items()))


def _requeue(workspace: Workspace, letter_id: str, changes: list[str], output: Output) -> None:
    from tickerlake.delivery import dead_letters

    record = None
    if changes:
        letter = dead_letters.show(workspace.lake, letter_id)
        record = _record(letter) | dict(_change(text) for text in changes)
    published = dead_letters.requeue(workspace.stream, workspace.lake, letter_id, record)
    _said(
        output,
        {
            "id": letter_id,
            "status": "published",
            "partition": published.partition,
            "position": published.last_position,
        },
        f"Requeued {letter_id}: published to partition {published.partition} at position "
        f"{published.last_position}. The next `deliver` brings it into the lake.",
    )


def _record(letter: Letter) -> dict[str, Any]:
    try:
        record = json.loads(letter.payload or b"")
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise MalformedError(
            f"The payload of {letter.id} is no JSON object, so no column of it can be set.",
            found=repr((letter.payload or b"")[:80]),
            todo="discard it, and publish the right record anew",
        )
    return record


def _change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"{text!r} sets nothing.", expected="COLUMN=VALUE, such as high=10.5")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _as_object(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "kind": letter.kind,
        "status": letter.status,
        "reason": letter.reason,
        "provider": letter.provider,
        "symbol": letter.symbol,
        "ts": letter.ts,
        "fetched_at": letter.fetched_at,
        "delivered_at": letter.delivered_at,
        "payload": letter.payload,
    }


def _said(output: Output, fields: dict[str, Any], text: str) -> None:
    if output.json_mode:
        output.document(fields)
    else:
        output.result(text)
