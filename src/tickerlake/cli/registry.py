"""Every verb with its one line of help. Imports nothing, so that `--help` is quick."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["VERBS", "Verb"]


class Verb(NamedTuple):
    """A verb: how it is called, and what it does in one line."""

    name: str
    help: str

    @property
    def module(self) -> str:
        """Where its arguments and its work are."""
        return f"tickerlake.cli.verbs.{self.name.replace('-', '_')}"


VERBS = (
    Verb("demo", "run the whole chain on the bundled real sample"),
    Verb("init", "make a workspace"),
    Verb("sources", "list the sources, or parse a recorded answer of one"),
    Verb("search", "symbols that fit a name, a symbol, an ISIN or a SEDOL, best first"),
    Verb("fetch", "bring bars into the cache, or write them to a file; publishes nothing"),
    Verb("publish", "fetch what is missing and put it on the stream"),
    Verb("capture", "record what passes a provider's socket, or play it again"),
    Verb("deliver", "move records from the stream into the lake, exactly once"),
    Verb("run", "publish, deliver and serve the page, all at once"),
    Verb("sql", "ask the lake and the stream's fresh tail; without a query, a shell"),
    Verb("serve", "serve the page"),
    Verb("status", "how far stream and lake are, per topic and partition"),
    Verb("dead-letters", "list, show, requeue or discard records that could not enter"),
    Verb("lake", "status, maintenance and repair of the tables"),
    Verb("cache", "what was downloaded, whether it is sound, and what may go"),
    Verb("stream", "what the stream holds"),
    Verb("config", "each setting, its value, and where it came from"),
    Verb("prove", "kill anything at any moment, and count what the lake lost or doubled"),
    Verb("doctor", "check what can go wrong before it does"),
    Verb("completion", "print shell completion for bash, zsh or tcsh"),
)
