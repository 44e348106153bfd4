"""The command `sandbox-orchestrator`: Django's command line, where what goes wrong outside of us is one line and not a
traceback (`--traceback` shows it all the same), and Ctrl-C ends quietly."""

from __future__ import annotations

import os
import signal
import sys

from orchestrator_site import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator_site.installation import Installation

NAME = "sandbox-orchestrator"
INTERRUPTED = 130  # what shells have for Ctrl-C
NOBODY_READS = 141  # and for a pipe that was closed: `| head -1`
# What may be called on an SQLite file that was moved to PostgreSQL: it says that, and does nothing to it or the fleet.
ON_A_MOVED_FILE = {"check", "dbshell", "export", "help", "move_database", "shell"}


def main() -> None:
    # Here and above as little as can be is loaded: meanwhile Ctrl-C is Python's own.
    heed_ctrl_c(lambda *_: os._exit(INTERRUPTED))  # nothing has begun that must be ended
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  for as long as this process lives
    try:
        run(sys.argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        leave(INTERRUPTED)
    except BrokenPipeError:
        leave(NOBODY_READS)
    except Exception as error:
        if was_interrupted(error):
            leave(INTERRUPTED)
        raise
    except SystemExit as ended:
        heed_ctrl_c(signal.SIG_DFL)
        flush_or_leave()
        raise ended from None


def heed_ctrl_c(handler: Callable[..., object] | signal.Handlers) -> None:
    """Not where a script has started this beside itself: then Ctrl-C is for others."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def was_interrupted(error: BaseException | None) -> bool:
    """Python 3.11 makes a RuntimeError of a Ctrl-C while a class is made; others may make one of their own of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def run(argv: list[str]) -> None:
    """Raises KeyboardInterrupt, BrokenPipeError and SystemExit."""
    if argv[1:] in (["version"], ["--version"]):
        sys.stdout.write(f"{NAME} {__version__}\n")
        return
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
    if argv[1:2] == ["healthcheck"]:
        from orchestrator_site import healthcheck

        healthcheck.main(argv[2:])
    found = find_installation(argv[1:])
    if argv[1:2] == ["names"] and found:
        from orchestrator_site import names

        names.main(" ".join(argv[2:]), found)
        return
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import DatabaseError

    try:
        from django.conf import settings

        bool(settings.SECRET_KEY)  # reads the settings
    except ImproperlyConfigured as error:
        if argv[1:2] == ["doctor"]:
            from orchestrator_site.doctor import report

            report.end_without_settings(error, argv[2:])
        sys.exit(f"Configuration: {error}")
    if settings.DATABASE_IS_SQLITE and argv[1:2] and argv[1] not in ON_A_MOVED_FILE:
        from orchestrator_site.moving.mark import moved

        if old := moved(str(settings.DATABASES["default"]["NAME"])):
            sys.exit(old.sentence)
    heed_ctrl_c(signal.default_int_handler)
    try:
        execute_from_command_line(argv)
    except DatabaseError as error:
        if "--traceback" in argv:
            raise
        from orchestrator_site.database_sentence import sentence

        sys.exit(sentence(error))


def find_installation(arguments: list[str]) -> Installation | None:
    """Have the settings be those of the installation that is meant, if one is. Ends with a sentence where there is
    none."""
    from orchestrator_site import installation

    is_preparing = not installation.PREPARING.isdisjoint(arguments[:1])
    if not (is_preparing or installation.is_needed(arguments)):
        return None
    try:
        if is_preparing:
            found = installation.in_its_folder(os.environ)
        else:
            found = installation.find(os.environ, NAME, *arguments)
    except installation.Missing as error:
        sys.exit(str(error))
    if found.lent:
        from orchestrator_site import environment

        environment.lend(found.lent)
    if found.is_elsewhere:
        sys.stderr.write(f"This is about the installation that runs in {found.folder}.\n")
    return found


def flush_or_leave() -> None:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        leave(NOBODY_READS)


def leave(code: int) -> None:
    """At once: threads that wait for an answer are left behind, and what was not written goes nowhere."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)
