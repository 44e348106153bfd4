"""The second factor: an app's codes, and recovery codes for the day when the phone is lost. Optional, unless
REQUIRE_SECOND_FACTOR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import django_otp
import segno
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from pools import clock

APP, RECOVERY = "app", "recovery codes"
RECOVERY_CODES = 10
APP_DIGITS = 6


class WrongCode(Exception):
    """It says what to do."""


def has_one(user: Any) -> bool:
    """Whether this account has to give a code."""
    return bool(TOTPDevice.objects.devices_for_user(user, confirmed=True).exists())


def verify(user: Any, code: str) -> Any:
    """Return what the code belongs to, used up. Raises WrongCode; after several in a row without looking at it."""
    code = "".join(code.split()).replace("-", "").lower()
    kind = TOTPDevice if len(code) == APP_DIGITS and code.isdecimal() else StaticDevice
    device = kind.objects.devices_for_user(user, confirmed=True).first()
    if device is None:
        raise WrongCode("This is no code of six digits, and there are no recovery codes.")
    return _verified(user, device, code)


def _verified(user: Any, device: Any, code: str) -> Any:
    is_allowed, why = device.verify_is_allowed()
    if not is_allowed:
        seconds = max(1, round((why["locked_until"] - clock.now()).total_seconds()))
        raise WrongCode(f"Too many codes were wrong. Try again in {seconds} s.")
    verified = django_otp.verify_token(user, device.persistent_id, code)
    if verified is None:
        raise WrongCode("This code is wrong, or was used already. Wait for the next one.")
    return verified


def unconfirmed(user: Any) -> Any:
    """Return what the person is about to set up; it is the same until they have."""
    with transaction.atomic():
        get_user_model().objects.select_for_update().get(pk=user.pk)  # not two at once
        device = TOTPDevice.objects.devices_for_user(user, confirmed=False).first()
        return device or TOTPDevice.objects.create(user=user, name=APP, confirmed=False)


def confirm(user: Any, code: str) -> tuple[Any, list[str]]:
    """Switch it on with a first code; return it with the recovery codes. Raises WrongCode."""
    device = _verified(user, unconfirmed(user), "".join(code.split()))
    with transaction.atomic():
        device.confirmed = True
        device.save(update_fields=["confirmed"])
        return device, new_recovery_codes(user)


@transaction.atomic
def new_recovery_codes(user: Any) -> list[str]:
    """Make fresh ones in place of those that there are."""
    StaticDevice.objects.devices_for_user(user).delete()
    device = StaticDevice.objects.create(user=user, name=RECOVERY)
    codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=device, token=code) for code in codes)
    return codes


def recovery_codes_left(user: Any) -> int:
    return int(StaticToken.objects.filter(device__user=user, device__confirmed=True).count())


@transaction.atomic
def remove(user: Any) -> bool:
    """Take it away; False if there was none. Sessions that were begun with it go on."""
    had_one = has_one(user)
    for kind in (TOTPDevice, StaticDevice):
        kind.objects.devices_for_user(user).delete()
    return had_one


def picture(device: Any) -> str:
    """The device's secret as a QR code, as the address of an image."""
    code = segno.make(device.config_url, error="m")
    address: str = code.svg_data_uri(border=4, light="#fff", dark="#000", omitsize=True)  # dark on light, at night too
    return address


class SecondFactorMiddleware:
    """Who owes a second factor is nobody, to pages, admin and API. `request.signed_in` is who they would be."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        person = request.user
        request.signed_in = person  # type: ignore[attr-defined]
        request.user = SimpleLazyObject(lambda: AnonymousUser() if owes(person) else person)  # type: ignore[assignment]
        return self.get_response(request)


def owes(person: Any) -> bool:
    """Whether a session is without the second factor that its account has, or needs to have."""
    if not person.is_authenticated or person.is_verified():
        return False
    return (settings.REQUIRE_SECOND_FACTOR and person.is_staff) or has_one(person)


def who_must_set_up(request: HttpRequest) -> AbstractBaseUser | None:
    """Return the operator who has signed in and has yet to set up the second factor that is required."""
    person = getattr(request, "signed_in", None)
    if request.user.is_authenticated or person is None or not person.is_authenticated:
        return None
    must: bool = settings.REQUIRE_SECOND_FACTOR and person.is_active and person.is_staff and not has_one(person)
    return person if must else None
