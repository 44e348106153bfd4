"""Edits of what others may be editing, too.

A form keeps what its page showed beside each field. What was not touched keeps the value that it has by now: two who
edit different settings both have their way. An edit of a setting that somebody else has changed since is refused, with
both values; it holds when it is sent once more, from the page that showed them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.db import models
from django.http import QueryDict

if TYPE_CHECKING:  # generic for the checker only
    Form = forms.ModelForm[Any]
else:
    Form = forms.ModelForm

NOT_OF_THE_ROW = ("reason",)


@dataclass(frozen=True, slots=True)
class Clash:
    """A setting that two have changed: what the page showed, what it is by now, and what was to be saved."""

    name: str
    label: str
    seen: Any
    now: Any
    yours: Any


class CarefulForm(Form):
    """The form of a row; for a new one it is a plain form. Save with the row locked, so that of two edits the second
    sees the first."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.clashes: list[Clash] = []
        if self.instance.pk:
            for name in self.edited:
                self.fields[name].show_hidden_initial = True

    @property
    def edited(self) -> list[str]:
        """The names of the row's own fields in this form."""
        return [name for name in self.fields if name not in NOT_OF_THE_ROW]

    @property
    def changed_settings(self) -> list[str]:
        return [name for name in self.changed_data if name not in NOT_OF_THE_ROW]

    @property
    def changes(self) -> dict[str, tuple[Any, Any]]:
        """From what to what each setting goes that was changed."""
        pairs = {name: (self.initial.get(name), getattr(self.instance, name)) for name in self.changed_settings}
        return {name: (old, new) for name, (old, new) in pairs.items() if old != new}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.instance.pk:
            return cleaned
        for name in self.edited:
            if name in cleaned and name not in self.changed_data:
                cleaned[name] = getattr(self.instance, name)
        self.clashes = list(self._clashing(cleaned))
        if self.clashes:
            # Shown once more with what it is by now beside each field: to send that is to have seen it.
            now = {self.add_initial_prefix(clash.name): clash.now for clash in self.clashes}
            self.data = with_values(self.data, now)
        for clash in self.clashes:
            self.add_error(clash.name, ValidationError("Somebody has changed it meanwhile.", code="changed_meanwhile"))
        return cleaned

    def _clashing(self, cleaned: dict[str, Any]) -> Iterator[Clash]:
        for name in self.changed_settings:
            field, now = self.fields[name], self.initial.get(name)
            if name not in cleaned or self.add_initial_prefix(name) not in self.data:
                continue
            shown = field.hidden_widget().value_from_datadict(self.data, self.files, self.add_initial_prefix(name))
            try:
                seen = field.to_python(shown)
            except ValidationError:
                continue  # no page of ours sends that
            if field.has_changed(now, shown) and now != cleaned[name]:
                yield Clash(name, str(self[name].label), seen, now, cleaned[name])


def with_values(data: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was sent, with other values for some names."""
    if isinstance(data, QueryDict):
        data = data.copy()
        for name, value in values.items():
            data[name] = value
        return data
    return {**data, **values}


def last_editor(obj: models.Model) -> tuple[str, datetime] | None:
    """Who saved a row in the admin last, and when; None when nobody did."""
    kind = ContentType.objects.get_for_model(obj)
    entries = LogEntry.objects.filter(content_type=kind, object_id=str(obj.pk)).select_related("user")
    entry = entries.order_by("-action_time").first()
    return (entry.user.get_username(), entry.action_time) if entry else None
