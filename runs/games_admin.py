"""Versions of games in the admin: added by an address, tried with the log live, published, and taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.defaultfilters import truncatechars
from django.urls import URLPattern, path, reverse
from django_q.tasks import async_task

from games import versions
from games.git_sources import Address, AddressRefused
from games.models import GameVersion, VersionState
from pools import clock
from pools.console.forms import ReasonForm, reason_field
from pools.console.operations import Refused
from pools.console.rights import OPERATE, ActingAdmin, actor_of, log_act, require
from pools.templatetags.fleet import NOTHING
from runs.launching.steps import steps
from runs.models import Run

LINES_SHOWN = 300
WAITING = (VersionState.FETCHING, VersionState.FETCHED, VersionState.TRYING)
NEWER = "newer"  # the button that asks for another version


def queue_trial(version: GameVersion) -> None:
    async_task("runs.tasks.try_version", version.pk, task_name="try a game", group="games")


def publish(version: GameVersion, *, actor: str, reason: str) -> str:
    return versions.publish(version, actor=actor, reason=reason, now=clock.now())


def try_again(version: GameVersion, *, actor: str, reason: str) -> str:
    done = versions.ask_again(version, actor=actor, reason=reason, now=clock.now())
    queue_trial(version)
    return done


ACTS = {"publish": publish, "try_again": try_again}


def offered_acts(version: GameVersion) -> list[tuple[str, str]]:
    """The buttons that make sense for a version as it is: name and label."""
    if version.state == VersionState.FAILED or versions.is_stuck(version, clock.now()):
        return [("try_again", "Try again")]
    if not version.address:
        return []
    return {
        VersionState.TRIED: [("publish", "Publish")],
        VersionState.REPLACED: [("publish", "Roll back to this")],
        VersionState.PUBLISHED: [(NEWER, "Look for a newer commit")],
    }.get(VersionState(version.state), [])


if TYPE_CHECKING:  # generic for the checker only
    Form = forms.ModelForm[GameVersion]
else:
    Form = forms.ModelForm


class AddressForm(Form):
    """Where a game's source is."""

    address = forms.CharField(
        max_length=300,
        widget=forms.TextInput(attrs={"class": "vTextField", "placeholder": "https://…", "autocomplete": "off"}),
        help_text="As git clone takes it, of a public repository: https://example.com/me/my-game.git",
    )
    branch = forms.CharField(max_length=100, required=False, help_text="Empty for the repository's default.")
    folder = forms.CharField(
        max_length=200, required=False, help_text="The one with the game's game.toml; empty when that is at the top."
    )
    reason = reason_field()

    class Meta:
        model = GameVersion
        fields = ("address", "branch", "folder")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "address" in cleaned:
            try:
                Address.of(cleaned["address"], cleaned.get("branch", ""), cleaned.get("folder", ""))
            except AddressRefused as error:
                raise forms.ValidationError(str(error)) from None
        return cleaned


@admin.register(GameVersion)
class GameVersionAdmin(ActingAdmin):
    form = AddressForm
    exported = (
        *("game__slug", "state", "address", "branch", "folder", "commit", "source_digest", "code", "reason", "trial"),
        *("asked_by", "asked_at", "published_at"),
    )
    exported_by = "asked_at"
    list_display = ("shown", "state", "address", "branch", "folder", "asked_at", "asked_by", "published_at", "why")
    list_filter = ("state", "game")
    list_select_related = ("game",)
    search_fields = ("address", "commit", "game__slug")
    change_form_template = "admin/games/version/page.html"
    fieldsets = ((None, {"fields": ("address", "branch", "folder", "reason")}),)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(OPERATE)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[GameVersion]:
        found: QuerySet[GameVersion] = super().get_queryset(request)
        return found.select_related("game")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.fieldsets
        # What changes while it is tried is in the part of the page that follows.
        return ((None, {"fields": ("address", "branch", "folder", "asked_by", "asked_at")}),)

    @admin.display(description="Version", ordering="game__slug")
    def shown(self, version: GameVersion) -> str:
        return str(version)

    @admin.display(description="Why")
    def why(self, version: GameVersion) -> str:
        return truncatechars(version.reason, 100) or NOTHING

    # Adding one.

    def save_model(self, request: HttpRequest, obj: GameVersion, form: Any, change: bool) -> None:
        given = form.cleaned_data
        address = Address.of(given["address"], given["branch"], given["folder"])
        made = versions.ask(address, actor=actor_of(request), reason=given["reason"], now=clock.now())
        queue_trial(made)
        obj.pk = made.pk

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """There is nothing else."""

    def log_addition(self, request: HttpRequest, obj: GameVersion, message: Any) -> Any:
        return log_act(request, obj, "Asked for", "", ADDITION)

    def response_add(
        self, request: HttpRequest, obj: GameVersion, post_url_continue: str | None = None
    ) -> HttpResponse:
        return _page_of(obj)

    # One version.

    def get_urls(self) -> list[URLPattern]:
        act = path("<int:version_id>/act/", self.admin_site.admin_view(self.act_view), name="games_gameversion_act")
        return [act, *super().get_urls()]

    def act_view(self, request: HttpRequest, version_id: int) -> HttpResponse:
        """A button of a version's page."""
        require(request, OPERATE)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        chosen = GameVersion.objects.select_related("game").filter(pk=version_id)
        name, made = request.POST.get("act", ""), GameVersion(pk=version_id)

        def look_for_newer(version: GameVersion, *, actor: str, reason: str) -> str:
            nonlocal made
            try:
                made = versions.ask(versions.address(version), actor=actor, reason=reason, now=clock.now())
            except AddressRefused as error:
                raise Refused(str(error)) from None
            queue_trial(made)
            return f"the newest commit of {version.address} is fetched and tried"

        try:
            for version in chosen if name == "publish" else []:
                versions.require_source(version)  # before the transaction of the act
        except Refused as error:
            self.message_user(request, str(error), messages.WARNING)
            return _page_of(made)
        if act := {**ACTS, NEWER: look_for_newer}.get(name):
            self.act_on_each(request, chosen, act)
        return _page_of(made)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        version = kwargs.get("obj")
        if version is not None:
            run = Run.objects.select_related("game").filter(pk=version.trial).first() if version.trial else None
            context |= {
                "is_waiting": version.state in WAITING and not versions.is_stuck(version, clock.now()),
                "run": run,
                "steps": steps(run) if run is not None else [],
                "lines": list(run.events.order_by("-seq")[:LINES_SHOWN])[::-1] if run is not None else [],
                "acts": offered_acts(version) if self.has_operate_permission(request) else [],
                "reason_form": ReasonForm(),
            }
        return super().render_change_form(request, context, *args, **kwargs)


def _page_of(version: GameVersion) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:games_gameversion_change", args=[version.pk]))
