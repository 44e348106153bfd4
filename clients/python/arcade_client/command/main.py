"""`arcade`: from the command line to an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from arcade_client.client import Arcade
from arcade_client.command.arguments import parser
from arcade_client.command.kept_tokens import KeptTokens
from arcade_client.command.output import Output
from arcade_client.command.verbs import FAILED, VERBS, Context, UsageError
from arcade_client.errors import ArcadeError, Problem, RunOver, WaitedTooLong

USUAL_URL = "http://127.0.0.1:8000"
REFUSED, UNREACHABLE, INTERRUPTED = 1, 3, 130
USUAL_TIMEOUT_SECONDS = 30.0
FIRST_CONTACT_SECONDS = 5.0  # somebody sits in front of it, and the address may be wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what was said, and return the exit code. argparse itself exits with 2."""
    known = parser()
    said = known.parse_args(arguments)
    output = Output(is_json=getattr(said, "json", False))
    base_url = getattr(said, "url", "") or os.environ.get("ARCADE_URL") or USUAL_URL
    timeout = getattr(said, "timeout", USUAL_TIMEOUT_SECONDS)
    try:
        arcade = Arcade(base_url, os.environ.get("ARCADE_KEY") or None, timeout)
    except ValueError as error:
        known.error(str(error))
    arcade.site.contact.first_seconds = FIRST_CONTACT_SECONDS
    try:
        with arcade:
            return VERBS[said.verb](Context(arcade, said, output, KeptTokens(base_url)))
    except UsageError as error:
        known.error(str(error))
    except ArcadeError as error:
        output.error(error)
        return exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read has had enough; nothing more may be written at the exit, either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def exit_code(error: ArcadeError) -> int:
    if isinstance(error, Problem):
        return REFUSED
    return FAILED if isinstance(error, RunOver | WaitedTooLong) else UNREACHABLE
