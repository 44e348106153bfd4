"""The launch form."""

from __future__ import annotations

import uuid

from django import forms

from runs.models import LaunchMode


class LaunchForm(forms.Form):
    """The choices for a launch. `key` is new with each page: one page makes one launch, however often it is sent."""

    MODES = [
        (LaunchMode.WARM, "Warm", "Take a sandbox that is up already. The fast way."),
        (LaunchMode.COLD, "Cold", "Make a new sandbox first. To see the difference."),
    ]
    SOURCES = [
        ("snapshot", "Snapshot", "The game packed with all it needs."),
        ("source", "Source", "Clone it and install its dependencies, live in the log."),
    ]

    mode = forms.ChoiceField(choices=[choice[:2] for choice in MODES], initial=LaunchMode.WARM)
    start_from = forms.ChoiceField(choices=[choice[:2] for choice in SOURCES], initial="snapshot")
    key = forms.RegexField(r"^[A-Za-z0-9-]{8,100}$")
    another = forms.BooleanField(required=False)  # although one of it is on


def new_key() -> str:
    return str(uuid.uuid4())
