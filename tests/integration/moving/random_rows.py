"""Fills every table of the database in use with rows that nobody would make up: python random_rows.py SEED ROWS."""

from __future__ import annotations

import os
import random
import sys
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

TEXTS = (
    "",
    "0",
    "null",
    "\\N",
    "\\.",
    "a\tb\nc\rd",
    "'; DROP",
    "\\x41",
    "ß→日本🎲",
    " spaces ",
    '{"a": 1}',
    "\x01\x7f",
    "%s",
)
JSON = (
    None,
    True,
    0,
    -1.5,
    1e-7,
    2**70,
    "",
    "\\",
    "\ud83c\udfb2",
    [],
    {},
    [None, {"a": [1.0, "é"]}],
    {"": {"k": 0.5}},
)


def value(field: Any, dice: random.Random) -> Any:
    """One of those that the field's column takes in either database; None is Python's own."""
    from django.db import models

    if field.null and dice.random() < 0.3:
        return None
    if field.choices:
        return dice.choice([key for key, _ in field.flatchoices])
    if isinstance(field, models.ForeignKey):
        others = list(field.related_model._base_manager.values_list("pk", flat=True)[:50])
        return dice.choice(others) if others else value(field.related_model._meta.pk, dice)
    if isinstance(field, models.JSONField):
        return dice.choice(JSON[1:])
    if isinstance(field, models.BooleanField):
        return dice.random() < 0.5
    if isinstance(field, models.DecimalField):
        places = field.decimal_places
        return Decimal(dice.randrange(10 ** (min(field.max_digits, 15)))).scaleb(-places)
    if isinstance(field, models.FloatField):
        return dice.choice([0.0, 0.1, 1e300, 5e-324, dice.random() * 1e6])
    if isinstance(field, models.DateTimeField):
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=dice.randrange(10**15))
    if isinstance(field, models.DateField):
        return date(2026, 1, 1) + timedelta(days=dice.randrange(9999))
    if isinstance(field, models.UUIDField):
        return uuid.UUID(int=dice.getrandbits(128))
    if isinstance(field, models.GenericIPAddressField):
        return dice.choice(["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.7", "::"])
    if isinstance(field, models.IntegerField):
        least, most = (0 if "Positive" in field.get_internal_type() else -9), 2**15 - 1
        if field.get_internal_type() in ("BigIntegerField", "PositiveBigIntegerField"):
            most = 2**63 - 1
        return dice.choice([max(least, 0), 1, most, dice.randrange(least, most)])
    text = dice.choice(TEXTS) + (f"{dice.getrandbits(64):x}" if field.unique or dice.random() < 0.7 else "")
    return text[: field.max_length] if field.max_length else text * dice.choice([1, 1, 500])


def fill(seed: int, rows: int) -> dict[str, int]:
    """How many rows each table has got; what a constraint of its own refuses is left out."""
    from django.apps import apps
    from django.db import IntegrityError, connection, models, transaction

    dice, found = random.Random(seed), dict[str, int]()
    all_models = list(apps.get_models(include_auto_created=True))
    for model in [*all_models, *all_models]:  # some need rows of those that come later
        made = found.get(model._meta.label, 0)
        if made == rows:
            continue
        for _ in range(rows * 20):
            own = [each for each in model._meta.concrete_fields if not isinstance(each, models.AutoField)]
            row = model(**{each.attname: value(each, dice) for each in own})
            try:
                with transaction.atomic():
                    row.save_base(raw=True, force_insert=True)
                    connection.check_constraints([model._meta.db_table])
            except (IntegrityError, OverflowError):
                continue
            made += 1
            if made == rows:
                break
        found[model._meta.label] = made
    return found


if __name__ == "__main__":
    import django

    django.setup()
    sys.path.insert(0, os.getcwd())
    print(fill(int(sys.argv[1]), int(sys.argv[2])))
