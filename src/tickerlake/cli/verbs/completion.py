"""`completion`: shell completion, made from the parser itself."""

from __future__ import annotations

import argparse

from tickerlake.cli.output import Output

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which shell."""
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    parser.epilog = 'For bash: eval "$(tickerlake completion bash)"'


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Print the script."""
    import shtab

    from tickerlake.cli.parser import build_parser
    from tickerlake.cli.registry import VERBS

    parser = build_parser({verb.name for verb in VERBS})
    script = shtab.complete(parser, shell=arguments.shell)
    if output.json_mode:
        output.document({"shell": arguments.shell, "script": script})
    else:
        output.result(script)
    return 0
