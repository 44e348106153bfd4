"""`manage.py api_key`: make, list and revoke the keys with which programs call the API."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from pools import clock
from pools.ages import ago
from pools.api_keys import BEGINNING, NAME_CHARACTERS, ApiKey, Scope
from pools.console import key_acts
from pools.console.key_admin import LIMITS
from pools.console.operations import Refused
from pools.management.shell import actor, unknown


class Command(BaseCommand):
    help = (
        "Make, list and revoke the keys with which programs call the API. A new key is printed once and kept nowhere."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        make = acts.add_parser("make", help="print a new key")
        make.add_argument("name", help="whose it is: the log has it with every act")
        make.add_argument(
            "--scope",
            action="append",
            choices=Scope.values,
            help="what it is for; may be given again (launch)",
        )
        make.add_argument("--days", type=int, help="when it expires; without, never")
        for limit in LIMITS:
            make.add_argument(f"--{limit.replace('_', '-')}", help="a number, instead of what holds for every client")
        acts.add_parser("list", help="show which there are")
        revoke = acts.add_parser("revoke", help="take one back for good")
        revoke.add_argument("prefix", help=f"what comes after {BEGINNING} in it, up to the next _")
        for each in (make, revoke):
            each.add_argument("--why", default="from the command line", help="written to the log")

    def handle(self, *args: Any, act: str, **options: Any) -> None:
        getattr(self, act)(options)

    def make(self, options: dict[str, Any]) -> None:
        limits = {name: options[name] for name in LIMITS}
        if not 0 < len(options["name"]) <= NAME_CHARACTERS:
            raise CommandError(f"A name has 1 to {NAME_CHARACTERS} characters.")
        days = options["days"]
        if days is not None and not 0 < days <= 3650:
            raise CommandError("--days is from 1 to 3650.")
        expires_at = clock.now() + timedelta(days=days) if days is not None else None
        scopes = options["scope"] or [Scope.LAUNCH]
        told = {"actor": actor(), "reason": options["why"]}
        try:
            _, token = key_acts.make(options["name"], scopes, expires_at=expires_at, limits=limits, **told)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        self.stderr.write("Copy it now: it is kept nowhere.")
        self.stdout.write(token)

    def list(self, options: dict[str, Any]) -> None:
        now = clock.now()
        for key in ApiKey.objects.all():
            used = f"used {ago(key.last_used_at, now)} ago" if key.last_used_at else "never used"
            refusal = key.refusal(now)
            stands = refusal.removeprefix("key_") if refusal else "good"
            self.stdout.write(f"{key.prefix}  {stands:8}  {','.join(key.scopes):12}  {used}  {key.name}")

    def revoke(self, options: dict[str, Any]) -> None:
        prefix = options["prefix"].removeprefix(BEGINNING).partition("_")[0]
        key = ApiKey.objects.filter(prefix=prefix).first()
        if key is None:
            raise unknown("key", prefix, ApiKey.objects.values_list("prefix", flat=True))
        try:
            self.stdout.write(f"{key_acts.revoke(key, actor=actor(), reason=options['why'])}.")
        except Refused as error:
            raise CommandError(str(error)) from error
