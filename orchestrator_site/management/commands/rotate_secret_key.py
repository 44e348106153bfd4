"""`manage.py rotate_secret_key`: a new SECRET_KEY, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser

from orchestrator_site.environment import as_given
from orchestrator_site.kept_key import alone_in, new_key, put
from orchestrator_site.secret_keys import Keys
from pools import agent_keys
from pools.models import Sandbox

RESTART = "Now start every process again, on every machine."
SECOND = f"{RESTART} Only when that is done: rotate_secret_key --restarted"  # who did not would refuse what it signs
WAIT = (
    "Wait {hours} hours, so that whoever is signed in has come by, and until the sandboxes of before are gone; then: "
    "rotate_secret_key --forget"
)


class Command(BaseCommand):
    help = (
        "Change SECRET_KEY, and nobody notices. First a new key is announced; after a restart of all processes, "
        "--restarted brings it into use. Where SECRET_KEY is no file, prints what to set."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        steps = parser.add_mutually_exclusive_group()
        steps.add_argument(
            "--restarted", action="store_true", help="use the announced key: every process was started again since"
        )
        steps.add_argument(
            "--at-once", action="store_true", help="both steps, where all processes stop and start as one"
        )
        steps.add_argument("--forget", action="store_true", help="accept the former keys no more")

    def handle(self, *_args: Any, restarted: bool, at_once: bool, forget: bool, **_options: Any) -> None:
        before = Keys.of(settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS)
        if forget:
            _require_nothing_of(before.former)
            self._set(before, before.forgotten(), f"The former keys are forgotten. {RESTART}")
            return
        if restarted and not before.coming:
            raise CommandError("No key is announced. That is the first step: rotate_secret_key")
        if before.coming and not (restarted or at_once):
            raise CommandError(f"A new key is announced already. {SECOND}")
        after = before if before.coming else before.announced(new_key())
        said = f"A new key is announced. {SECOND}"
        if restarted or at_once:
            after = after.used()
            said = f"The new key is in use. {RESTART} {WAIT.format(hours=settings.OPERATOR_SESSION_HOURS)}"
        self._set(before, after, said)

    def _set(self, before: Keys, after: Keys, said: str) -> None:
        """What is accepted comes first: between the two writes nothing is signed that is not."""
        key_file = _file_of("SECRET_KEY", settings.VAR_DIR / "secret_key")
        fallbacks_file = _file_of("SECRET_KEY_FALLBACKS", settings.VAR_DIR / "secret_key_fallbacks")
        changed = []
        if after.accepted != before.accepted:
            changed.append(("SECRET_KEY_FALLBACKS", fallbacks_file, "\n".join(after.accepted)))
        if after.key != before.key:
            changed.append(("SECRET_KEY", key_file, after.key))
        for name, path, content in changed:
            if path is None:
                self.stdout.write(f"Set {name}={','.join(content.splitlines())}")
                continue
            try:
                with alone_in(path.resolve().parent):
                    put(path, f"{content}\n")
            except OSError as error:
                raise CommandError(f"{path} can't be written ({error.strerror}).") from None
            self.stdout.write(f"Written: {path}. Have the same on every machine.")
        self.stdout.write(said if changed else "There is nothing to forget.")


def _file_of(name: str, kept: Path) -> Path | None:
    """Where it is written down: the file that the environment names, else the product's own; None for a variable."""
    value, path = as_given(name)
    if path:
        return Path(path)
    # Beside a key that is given, in the environment or in a file, a list in this machine's own folder is no good.
    is_given = bool(value) or any(as_given("SECRET_KEY"))
    return None if is_given else kept


def _require_nothing_of(former: tuple[str, ...]) -> None:
    fingerprints = [agent_keys.fingerprint(key) for key in former]
    count = Sandbox.objects.existing().filter(token_key__in=fingerprints).count()
    if count:
        raise CommandError(
            f"{count} of the sandboxes that exist were made under a former key: wait until they are gone."
        )
