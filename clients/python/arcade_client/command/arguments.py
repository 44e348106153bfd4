"""What can be said to the command."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from arcade_client.operations import ACTS, ON_MISS
from arcade_client.wire import VERSION

EXIT_CODES = """exit codes:
  0  done
  1  the arcade refused: the error's code and what to do are on standard error
  2  the command was not used as it must be
  3  the arcade can't be reached, or something else answers at its address
  4  the run failed, or did not run in time
  130  interrupted

environment:
  ARCADE_URL             the arcade's address (http://127.0.0.1:8000)
  ARCADE_KEY             an API key, for what needs one
  ARCADE_WEBHOOK_SECRET  for webhook-receiver
"""
WAIT_SECONDS = 120.0
HIGHEST_PORT = 65_535
AddVerb = Callable[[str, str], argparse.ArgumentParser]


def parser() -> argparse.ArgumentParser:
    """The command's arguments. Those for all come before or after the verb."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--url", help="the arcade's address, instead of ARCADE_URL")
    common.add_argument("--json", action="store_true", help="print JSON: one document, or a line for each of a stream")
    common.add_argument(
        "--timeout", type=seconds, metavar="SECONDS", help="how long a request may take, retries and all (30)"
    )
    whole = argparse.ArgumentParser(
        prog="arcade",
        description="Launch games in sandboxes, follow and end them, and look after the pools.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    whole.add_argument("--version", action="version", version=f"arcade {VERSION}")
    verbs = whole.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, help_text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=help_text, description=help_text, parents=[common])

    _runs(verb)
    verb("games", "List what can be launched.")
    verb("limits", "Show launches against their limits.")
    _fleet(verb)
    return whole


def _runs(verb: AddVerb) -> None:
    launch = verb("launch", "Launch a game.")
    launch.add_argument("game", metavar="GAME")
    how = launch.add_mutually_exclusive_group()
    how.add_argument("--warm", action="store_const", const="warm", dest="mode", help="in a sandbox of the pool")
    how.add_argument("--cold", action="store_const", const="cold", dest="mode", help="in a new sandbox")
    launch.set_defaults(mode="auto")
    launch.add_argument("--on-miss", choices=ON_MISS, help="what to do when no warm sandbox is ready")
    launch.add_argument("--from-source", action="store_true", help="not from the snapshot")
    launch.add_argument("--label", action="append", type=label, default=[], metavar="NAME=VALUE", help="any number")
    launch.add_argument(
        "--idempotency-key", type=key, metavar="KEY", help="sent again with the same key, it is the same launch"
    )
    launch.add_argument("--follow", action="store_true", help="show its lines until it is over")
    launch.add_argument(
        "--wait",
        type=seconds,
        nargs="?",
        const=WAIT_SECONDS,
        metavar="SECONDS",
        help=f"until it runs, so long at most ({WAIT_SECONDS:g})",
    )
    lists = verb("list", "List the runs one may see, newest first.")
    lists.add_argument("--state", help="acquiring, deploying, running, ended or failed")
    lists.add_argument("--game")
    lists.add_argument("--mode", help="warm or cold")
    lists.add_argument(
        "--label", action="append", type=wanted_label, default=[], metavar="NAME[=VALUE]", help="any number"
    )
    lists.add_argument("--limit", type=count, default=50, help="rows at the most (50)")
    for name, help_text in (
        ("show", "Show all that is known of a run."),
        ("follow", "Show a run's lines until it is over."),
        ("extend", "Give a run more time."),
        ("end", "End a run; its sandbox goes with it."),
    ):
        one = verb(name, help_text)
        one.add_argument("run", metavar="RUN", help="its id, or how it begins if no other run of yours does")
        if name in {"extend", "end"}:
            one.add_argument("--reason", default="", help="operators have to say")
        if name == "follow":
            one.add_argument("--after", type=count, default=0, metavar="N", help="only lines beyond this number")


def _fleet(verb: AddVerb) -> None:
    verb("pools", "List the pools.")
    pool = verb("pool", "Show a pool, change it, or act on it.")
    pool.add_argument("name", metavar="NAME")
    pool.add_argument("--target", type=count, metavar="N", help="ready sandboxes while there is demand")
    pool.add_argument("--min", type=count, metavar="N", help="ready sandboxes always")
    pool.add_argument("--max", type=count, metavar="N", help="the most that it may hold")
    acts = pool.add_mutually_exclusive_group()
    for act in ACTS:
        acts.add_argument(f"--{act}", action="store_const", const=act, dest="act")
    pool.add_argument("--reason", default="", help="why, for the log; needed to change or act")
    plan = verb("plan", "Preview the next turn.")
    plan.add_argument("--apply", action="store_true", help="carry out what is shown")
    plan.add_argument("--reason", default="", help="why, for the log; needed with --apply")
    usage = verb("usage", "Show what was used, and what it cost.")
    usage.add_argument("--from", dest="since", metavar="YYYY-MM-DD", help="the first day (UTC)")
    usage.add_argument("--to", dest="until", metavar="YYYY-MM-DD", help="the last day (today)")
    usage.add_argument("--by", help="day, client, game or pool")
    events = verb("events", "Show what happens, without an end.")
    events.add_argument(
        "--after", type=count, metavar="N", help="beyond this number; without it, the last and what comes"
    )
    events.add_argument("--kind", help="only these types: run.ended, or run for all about runs")
    events.add_argument("--run", metavar="RUN", help="only about this run: its whole id")
    events.add_argument("--pool", metavar="NAME", help="only about this pool")
    _sandboxes(verb)
    _webhooks(verb)


def _sandboxes(verb: AddVerb) -> None:
    listed = verb("sandboxes", "List the sandboxes, newest first.")
    listed.add_argument("--state", help="requested, creating, staging, ready, in_use, deleting or deleted")
    listed.add_argument("--pool", metavar="NAME", help="only this pool's")
    listed.add_argument("--limit", type=count, default=50, help="rows at the most (50)")
    one = verb("sandbox", "Show a sandbox, or let it go.")
    one.add_argument("name", metavar="NAME")
    acts = one.add_mutually_exclusive_group()
    acts.add_argument("--retire", action="store_true", help="let it go; the run in it ends")
    acts.add_argument("--force-delete", metavar="NAME", dest="confirm", help="now, whatever its state: its name again")
    one.add_argument("--reason", default="", help="why, for the log; needed to let it go")


def _webhooks(verb: AddVerb) -> None:
    listed = verb("webhooks", "List the webhooks, or add one.")
    listed.add_argument("--add", metavar="URL", help="have events sent there; its secret is told once")
    listed.add_argument("--scope", choices=("own", "all"), help="of one's own runs, or of everything")
    one = verb("webhook", "Show a webhook, change it, or act on it.")
    one.add_argument("webhook", metavar="ID")
    one.add_argument("--to", metavar="URL", help="have events sent there instead")
    for each in (listed, one):
        each.add_argument("--type", action="append", metavar="TYPE", help="run.ended, or run for all about runs; again")
        each.add_argument("--description")
    switch = one.add_mutually_exclusive_group()
    switch.add_argument("--enable", action="store_const", const=True, dest="is_enabled")
    switch.add_argument("--disable", action="store_const", const=False, dest="is_enabled")
    acts = one.add_mutually_exclusive_group()
    acts.add_argument("--test", action="store_const", const="test", dest="act", help="send a test")
    acts.add_argument("--rotate", action="store_const", const="rotate", dest="act", help="get a new secret, told once")
    acts.add_argument("--remove", action="store_const", const="remove", dest="act")
    acts.add_argument("--deliveries", action="store_const", const="deliveries", dest="act", help="what was sent")
    acts.add_argument("--redeliver", metavar="DELIVERY", help="send one again")
    one.add_argument("--limit", type=count, default=50, help="deliveries at the most (50)")
    receiver = verb("webhook-receiver", "Receive webhooks, verify and show them.")
    receiver.add_argument("--bind", default="127.0.0.1", metavar="ADDRESS")
    receiver.add_argument("--port", type=port, default=8765)
    receiver.add_argument("--count", type=count, metavar="N", help="end after so many")


def seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("it must be more than 0")
    return number


def count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError("it must be a whole number, 0 or more")
    return int(text)


def port(text: str) -> int:
    number = count(text)
    if number > HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"it must be a number from 0 to {HIGHEST_PORT}")
    return number


def key(text: str) -> str:
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise argparse.ArgumentTypeError("it must be of plain letters, digits and signs")
    return text


def wanted_label(text: str) -> tuple[str, str | None]:
    name, separator, value = text.partition("=")
    return name, value if separator else None


def label(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise argparse.ArgumentTypeError("it must be NAME=VALUE")
    return name, value
