"""The API keys in the admin: made here, shown once, and revoked. A key itself is never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.models import ADDITION
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from pools import clock
from pools.api_keys import BEGINNING, NAME_CHARACTERS, ApiKey, Scope
from pools.console import key_acts
from pools.console.forms import reason_field
from pools.console.rights import DESTROY, ActingAdmin, actor_of, log_act
from pools.templatetags.fleet import NOTHING

SHOWN_ONCE = "new_api_key"  # the attribute of a request that has it
LIMITS = ("most_at_once", "most_a_minute", "most_an_hour", "most_usd_a_day")


if TYPE_CHECKING:  # generic for the checker only
    Form = forms.ModelForm[ApiKey]
else:
    Form = forms.ModelForm


class KeyForm(Form):
    """A new key."""

    name = forms.CharField(max_length=NAME_CHARACTERS, help_text="Whose it is: the log has it with every act.")
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices, widget=forms.CheckboxSelectMultiple(attrs={"class": "scopes"})
    )
    reason = reason_field(help_text="Written to the log with your name, for operators alone.")

    class Meta:
        model = ApiKey
        fields = ("name", "scopes", "expires_at", *LIMITS)

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= clock.now():
            raise forms.ValidationError("It would have expired already.")
        return expires_at


class KeyAdmin(ActingAdmin):
    form = KeyForm
    list_display = ("name", "start", "may", "stands", "last_used_at", "expires_at", "created_at", "created_by")
    list_filter = ("revoked_at", "expires_at")
    search_fields = ("name", "prefix")
    actions = ("revoke",)
    fieldsets = (
        (None, {"fields": ("name", "scopes", "expires_at", "reason")}),
        ("Its own limits (left empty, those of every client hold)", {"fields": LIMITS}),
    )

    # Keys open the fleet: they are made by those who may destroy it.
    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(DESTROY)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.fieldsets
        about = ("name", "start", "may", "stands", "created_at", "created_by", "expires_at", "last_used_at")
        return ((None, {"fields": (*about, "revoked_at", "revoked_by")}), ("Its own limits", {"fields": LIMITS}))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (
            ()
            if obj is None
            else ("start", "may", "stands", "created_at", "created_by", "last_used_at", "revoked_at", "revoked_by")
        )

    @admin.display(description="Begins with")
    def start(self, key: ApiKey) -> str:
        return f"{BEGINNING}{key.prefix}"

    @admin.display(description="Scopes")
    def may(self, key: ApiKey) -> str:
        return ", ".join(key.scopes) or NOTHING

    @admin.display(description="Status")
    def stands(self, key: ApiKey) -> str:
        if key.revoked_at is not None:
            return "revoked"
        return "expired" if key.refusal(clock.now()) else "good"

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        given = form.cleaned_data
        made, token = key_acts.make(
            given["name"],
            given["scopes"],
            actor=actor_of(request),
            reason=given["reason"],
            expires_at=given["expires_at"],
            limits={name: given[name] for name in LIMITS},
        )
        obj.pk, obj.prefix = made.pk, made.prefix
        setattr(request, SHOWN_ONCE, token)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """There is nothing else."""

    def log_addition(self, request: HttpRequest, obj: ApiKey, message: Any) -> Any:
        return log_act(request, obj, "Made", "", ADDITION)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """There is one way on: the page that shows the key."""
        context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().render_change_form(request, context, *args, **kwargs)

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """The key, this once; not as a message, which would be kept in a cookie."""
        context = {
            **self.admin_site.each_context(request),
            "title": f"API key {obj.name}",
            "opts": self.opts,
            "key": obj,
            "token": getattr(request, SHOWN_ONCE),
        }
        return TemplateResponse(request, "admin/pools/apikey/made.html", context)

    @admin.action(description="Revoke", permissions=["destroy"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[ApiKey]) -> None:
        self.act_on_each(request, chosen, key_acts.revoke)
