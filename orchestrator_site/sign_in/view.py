"""The pages to sign in and to set up a second factor."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlsplit

import django_otp
from django import forms
from django.contrib.auth.signals import user_login_failed
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import Resolver404, resolve, reverse

from orchestrator_site.sign_in import records, second_factor
from orchestrator_site.sign_in.addresses import network_of
from orchestrator_site.sign_in.form import CodeField, SignInForm
from orchestrator_site.sign_in.reasons import SignInCode
from orchestrator_site.sign_in.throttle import lock_on
from pools import clock

NO_PLACE_TO_GO = frozenset({"admin:login", "admin:logout", "admin:jsi18n"})


class SignInView(LoginView):
    authentication_form = SignInForm
    template_name = "admin/login.html"

    def get_redirect_url(self, request: HttpRequest | None = None) -> str:
        """Return where they wanted to go, if that is a page of this site; else nothing, which is the admin's index."""
        url: str = super().get_redirect_url()
        return url if is_page(url) else ""

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        user = form.get_user()
        has_given_code = getattr(user, "otp_device", None) is not None
        records.signed_in(user.get_username(), network_of(self.request), has_given_code=has_given_code)
        return response


def is_page(url: str) -> bool:
    """Whether an address within this site names a page. What the admin catches for want of one has no name."""
    if not url.isprintable():  # `urlsplit` would pass over line breaks
        return False
    try:
        found = resolve(urlsplit(url).path)
    except (Resolver404, ValueError):
        return False
    return found.url_name is not None and found.view_name not in NO_PLACE_TO_GO


def locked_answer(request: HttpRequest, response: HttpResponse, _credentials: Any = None) -> HttpResponse:
    """Return the sign-in page, which already says until when, as what it is: 429."""
    response.status_code = 429
    if (lock := lock_on(request)) is not None:
        response.headers["Retry-After"] = str(lock.left_seconds(clock.now()))
    return response


class CodeForm(forms.Form):
    code = CodeField()


def second_factor_page(request: HttpRequest, context: dict[str, Any]) -> HttpResponseBase:
    """A person's own second factor: set it up, make new recovery codes, remove it; each with a code.

    `request.signed_in`, because who is required to set it up is nobody until then.
    """
    user: Any = getattr(request, "signed_in", request.user)
    has_one = second_factor.has_one(user)
    form = CodeForm(request.POST or None)
    context = {**context, "title": "Second factor", "form": form, "has_one": has_one, "signed_in": user}
    if form.is_valid():
        try:
            return _change(request, user, form.cleaned_data["code"], context)
        except second_factor.WrongCode as error:
            credentials = {"username": user.get_username()}
            user_login_failed.send(__name__, credentials=credentials, request=request, code=SignInCode.WRONG_CODE)
            form.add_error("code", str(error))
    if has_one:
        context["codes_left"] = second_factor.recovery_codes_left(user)
    else:
        device = second_factor.unconfirmed(user)
        context |= {"picture": second_factor.picture(device), "secret": _in_groups(device)}
    return render(request, "admin/second_factor.html", context)


def _change(request: HttpRequest, user: Any, code: str, context: dict[str, Any]) -> HttpResponseBase:
    account, network = user.get_username(), network_of(request)
    told = {"network": network, "actor": account}
    if not context["has_one"]:
        device, codes = second_factor.confirm(user, code)
        request.user = user  # somebody, from now on
        django_otp.login(request, device)
        context = {**context, "has_permission": True}
        records.changed(account, SignInCode.FACTOR_ON, "by themselves", **told)
    elif request.POST.get("act") == "remove":
        second_factor.verify(user, code)
        second_factor.remove(user)
        records.changed(account, SignInCode.FACTOR_OFF, "by themselves", **told)
        return redirect(reverse("admin:second_factor"))
    else:
        second_factor.verify(user, code)
        codes = second_factor.new_recovery_codes(user)
        records.changed(account, SignInCode.CODES_MADE, "by themselves", **told)
    return render(request, "admin/recovery_codes.html", {**context, "title": "Recovery codes", "codes": codes})


def _in_groups(device: Any) -> str:
    """The secret, to be typed by people."""
    secret = base64.b32encode(device.bin_key).decode()
    return " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
