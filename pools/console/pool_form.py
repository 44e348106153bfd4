"""A pool's form on its page: sizes and regions to choose from, and a rise of its cost to be confirmed."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from pools.console.edit_cost import NOTHING_YET, SETTINGS, EditCost, edit_cost
from pools.console.forms import PoolForm
from pools.console.offer import Choices, Offer

CONSENT = "consent"  # the button that says yes to a cost
ASKED = {"size": "which sizes there are, and their prices", "region": "which regions there are"}


class PoolPageForm(PoolForm):
    """`offer` is what the account offers; without one, size and region are typed as they are in the API."""

    offer = Offer()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.to_confirm: EditCost | None = None
        for name, choices in (("size", self.offer.size_choices), ("region", self.offer.region_choices)):
            if self.offer.usd_a_month and name in self.fields:
                self._choose(name, choices(getattr(self.instance, name)))
            elif self.offer.trouble and name in self.fields:
                told = f"The account can't be asked {ASKED[name]}, so type it. {self.offer.trouble}"
                self.fields[name].help_text = told

    def _choose(self, name: str, choices: Choices) -> None:
        typed = self.fields[name]
        chosen = forms.ChoiceField(
            choices=choices,
            label=typed.label,
            initial=typed.initial,
            help_text=typed.help_text,
            show_hidden_initial=typed.show_hidden_initial,
            error_messages={"invalid_choice": f"The account does not offer this {name}: %(value)s."},
        )
        self.fields[name] = chosen

    @property
    def cost(self) -> EditCost:
        """What the edit will cost; of a form whose fields are valid."""
        before = {name: self.initial[name] for name in SETTINGS} if self.instance.pk else NOTHING_YET
        return edit_cost(before, {name: self.cleaned_data[name] for name in SETTINGS}, self.offer.price)

    def full_clean(self) -> None:
        """Asks about the cost last: of what can't be saved anyhow, nobody has to hear it."""
        super().full_clean()
        if not self.is_bound or self.errors:
            return
        cost = self.cost
        if cost.is_notable and self.data.get(CONSENT) != cost.consent:
            self.to_confirm = cost
            self.add_error(None, ValidationError("Nothing is saved yet: say yes to what it costs.", code="cost"))
