"""The sign-in form: name, password, and a code from whoever has a second factor."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import UsernameField
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_login_failed

from orchestrator_site.sign_in import second_factor
from orchestrator_site.sign_in.reasons import SignInCode
from orchestrator_site.sign_in.throttle import NAME_CHARACTERS, lock_on
from pools import clock


class CodeField(forms.CharField):
    """Six digits of an app, or a recovery code."""

    def __init__(self, **options: Any) -> None:
        attributes = {"autocomplete": "one-time-code", "spellcheck": "false", "autocapitalize": "none"}
        super().__init__(label="Code", max_length=20, widget=forms.TextInput(attrs=attributes), **options)


class SignInForm(AdminAuthenticationForm):
    # Django only tells the browser how long a name may be; a longer one would be hashed for.
    username = UsernameField(max_length=NAME_CHARACTERS, widget=forms.TextInput(attrs={"autofocus": True}))
    code = CodeField(required=False, help_text="Only if you have set up a second factor.")

    def clean(self) -> dict[str, Any]:
        """Raise one sentence for all that can be wrong with name and password; a lock says when to try again."""
        try:
            return super().clean()
        except forms.ValidationError:
            if self.request is not None and (lock := lock_on(self.request)) is not None:
                raise forms.ValidationError(lock.sentence(clock.now()), code="locked") from None
            raise

    def confirm_login_allowed(self, user: User) -> None:
        """The password was right. What is missing still counts as a failure: who guesses is told nothing for free."""
        try:
            super().confirm_login_allowed(user)
        except forms.ValidationError:
            self._has_failed(user, SignInCode.NOT_STAFF)
            raise
        if not second_factor.has_one(user):
            return
        code = self.cleaned_data.get("code") or ""
        if not code:
            self._has_failed(user, SignInCode.NO_CODE)
            raise forms.ValidationError("This account has a second factor: give the code as well.", code="no_code")
        try:
            user.otp_device = second_factor.verify(user, code)  # type: ignore[attr-defined]
        except second_factor.WrongCode as error:
            self._has_failed(user, SignInCode.WRONG_CODE)
            raise forms.ValidationError(str(error), code="wrong_code") from None

    def _has_failed(self, user: User, code: SignInCode) -> None:
        credentials = {"username": user.get_username()}
        user_login_failed.send(sender=__name__, credentials=credentials, request=self.request, code=code)
