"""`manage.py second_factor NAME --remove`: for whoever has lost their phone and their recovery codes."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError, CommandParser

from orchestrator_site.sign_in import records, second_factor
from orchestrator_site.sign_in.reasons import SignInCode
from pools.management.shell import actor, unknown


class Command(BaseCommand):
    help = "Say whether an account has a second factor, or take it away (--remove)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the account's name")
        parser.add_argument("--remove", action="store_true", help="take it away: the password alone signs in again")

    def handle(self, *_args: Any, name: str, remove: bool, **_options: Any) -> None:
        user = get_user_model().objects.filter(username=name).first()
        if user is None:
            raise unknown("account", name, get_user_model().objects.values_list("username", flat=True))
        if not remove:
            has_one = second_factor.has_one(user)
            left = second_factor.recovery_codes_left(user)
            self.stdout.write(f"{name}: a second factor, {left} recovery codes left" if has_one else f"{name}: none")
            return
        if not second_factor.remove(user):
            raise CommandError(f"{name} has no second factor.")
        records.changed(name, SignInCode.FACTOR_OFF, "by manage.py second_factor", actor=actor())
        self.stdout.write(f"{name} signs in with the password alone again.")
