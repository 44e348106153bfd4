"""The codes of the lines about signing in."""

from __future__ import annotations

from django.db import models


class SignInCode(models.TextChoices):
    """What came of it, or what was changed about it."""

    SIGNED_IN = "signed_in", "Signed in"
    WRONG_PASSWORD = "wrong_password", "wrong name or password"
    NOT_STAFF = "not_staff", "the account is no operator's"
    NO_CODE = "no_code", "the password was right, no code was given"
    WRONG_CODE = "wrong_code", "the password was right, the code was not"
    PAIR_LOCKED = "pair_locked", "the account from the address"
    ADDRESS_LOCKED = "address_locked", "the address"
    ACCOUNT_LOCKED = "account_locked", "the account from addresses that it never signed in from"
    MANY = "many_failures", "More failures than are logged one by one"
    FACTOR_ON = "second_factor_on", "Second factor set up"
    FACTOR_OFF = "second_factor_off", "Second factor removed"
    CODES_MADE = "recovery_codes", "New recovery codes"
