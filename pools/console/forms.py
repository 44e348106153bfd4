"""The forms of the operators' pages. Each act asks why: it is written to the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.admin.helpers import ActionForm

from pools.console.edits import CarefulForm
from pools.console.fleet_page import ROWS_A_PAGE
from pools.console.fleet_table import Row
from pools.models import Pool

REASON_CHARACTERS = 200
REASON_HELP = "Written to the log with your name. Players may read the words, not the name."


def reason_field(**options: Any) -> forms.CharField:
    box = forms.TextInput(attrs={"class": "why", "autocomplete": "off"})
    told: dict[str, Any] = {"label": "Why", "max_length": REASON_CHARACTERS, "widget": box, "help_text": REASON_HELP}
    return forms.CharField(**told | options)


class ReasonForm(forms.Form):
    """Only why."""

    reason = reason_field()


class ReasonActionForm(ActionForm):
    """The admin's bar of actions, with why. Checked by the action, which can say what is missing."""

    reason = forms.CharField(
        label="Why:",
        required=False,
        max_length=REASON_CHARACTERS,
        widget=forms.TextInput(attrs={"class": "why", "autocomplete": "off", "placeholder": "written to the log"}),
    )


class MaintenanceForm(ReasonForm):
    message = forms.CharField(
        max_length=200,
        initial="We are working on it. Launches are back in a few minutes.",
        help_text="What players read instead of launching.",
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )
    field_order = ["message", "reason"]


class GoForm(ReasonForm):
    """Carries which deletions the operator saw, so that none but those are let go."""

    digest = forms.CharField(max_length=16, widget=forms.HiddenInput)


class ForceDeleteForm(ReasonForm):
    """One box for each foreign app, in which its name must be typed; and one for how many there are, where they are
    more than a page shows."""

    def __init__(self, rows: Sequence[Row], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.count = len({row.key for row in rows})
        if self.count > ROWS_A_PAGE:
            self.fields["count"] = forms.CharField(
                label=f"Type {self.count}",
                widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "numeric"}),
                help_text="How many of ours will be deleted, each counted once.",
            )
        self.foreign = [row for row in rows if row.is_foreign]
        for row in self.foreign:
            box = forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})
            help_text = "It carries no mark of ours. To delete it all the same, type its name."
            self.fields[self.field_of(row)] = forms.CharField(
                label=f"Name of {row.name}", widget=box, help_text=help_text
            )

    def clean_count(self) -> str:
        typed = str(self.cleaned_data["count"]).strip().replace(",", "")
        if typed != str(self.count):
            raise forms.ValidationError(f"There are {self.count}; you typed {typed}.")
        return typed

    @staticmethod
    def field_of(row: Row) -> str:
        return f"name-{row.app_id}"

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for row in self.foreign:
            name = self.field_of(row)
            if name in cleaned and cleaned[name] != row.name:
                self.add_error(name, f"It is called {row.name}; you typed {cleaned[name]}.")
        return cleaned

    @property
    def typed_names(self) -> dict[str, str]:
        return {row.key: self.cleaned_data[self.field_of(row)] for row in self.foreign}


class SweepForm(ReasonForm):
    typed = forms.CharField(widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}))
    pause = forms.BooleanField(
        label="Pause all pools first",
        initial=True,
        required=False,
        help_text="Otherwise a pool that was used lately fills again at once.",
    )
    field_order = ["typed", "pause", "reason"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["typed"].label = f"Type {settings.ORCHESTRATOR_ID}"
        self.fields["typed"].help_text = "The ORCHESTRATOR_ID whose sandboxes will all be deleted."

    def clean_typed(self) -> str:
        typed = str(self.cleaned_data["typed"])
        if typed != settings.ORCHESTRATOR_ID:
            raise forms.ValidationError(f"That is not {settings.ORCHESTRATOR_ID}.")
        return typed


class PoolForm(CarefulForm):
    """A pool's settings, and why they change."""

    reason = reason_field()

    class Meta:
        model = Pool
        exclude = ["mode"]
