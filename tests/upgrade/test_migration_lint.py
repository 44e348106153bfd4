"""Migrations that the last version's processes would not stand are refused."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django_migration_linter.operations import IgnoreMigration

from runs.models import RunState
from tests.upgrade.migration_lint import LANDED, breaks, main


def broken_by(*operations: Any) -> list[str]:
    migration = migrations.Migration("0999_next", "runs")
    migration.operations = list(operations)
    return breaks(migration, MigrationLoader(None).project_state(("runs", LANDED["runs"])))


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (migrations.AddField("run", "size", models.IntegerField(default=1)), "NOT NULL"),
        (migrations.RemoveField("run", "end_reason"), "DROPPING columns"),
        (migrations.RenameField("run", "visitor", "player"), "RENAMING columns"),
        (migrations.RenameModel("Run", "Launch"), "RENAMING tables"),
        (migrations.DeleteModel("RunEvent"), "DROPPING table"),
    ],
)
def test_what_the_last_version_does_not_stand_is_refused(operation: Any, says: str):
    assert any(says in found for found in broken_by(operation)), broken_by(operation)


@pytest.mark.parametrize(
    "operation",
    [
        migrations.AddField("run", "size", models.IntegerField(null=True)),
        migrations.AddField("run", "size", models.IntegerField(default=1, db_default=1)),
        migrations.CreateModel("Note", [("id", models.BigAutoField(primary_key=True))]),
        migrations.AlterField("run", "visitor", models.CharField(max_length=64, help_text="new")),
    ],
)
def test_what_only_adds_is_taken(operation: Any):
    assert broken_by(operation) == []


SIZE = migrations.AddField("run", "size", models.IntegerField(default=1, db_default=1))
NOT_NULL = migrations.AlterField("run", "port", models.PositiveIntegerField())
CHECK = models.CheckConstraint(condition=~models.Q(visitor=""), name="run_has_a_visitor")


@pytest.mark.parametrize(
    ("operations", "says"),
    [
        ([NOT_NULL, SIZE], "NOT NULL"),  # the default is another column's
        ([migrations.RunSQL("alter table runs_run drop column end_reason")], "SQL of one's own"),
        ([migrations.SeparateDatabaseAndState([migrations.RunSQL("select 1")])], "SQL of one's own"),
        ([migrations.AlterField("run", "number", models.PositiveBigIntegerField(default=0))], "DROPPING a default"),
        ([migrations.AddConstraint("run", CHECK)], "ADDING a check"),
    ],
)
def test_what_the_linter_alone_does_not_see_is_refused_too(operations: list[Any], says: str):
    assert any(says in found for found in broken_by(*operations)), broken_by(*operations)


def test_a_check_may_be_replaced_and_be_part_of_a_new_table():
    wider = models.CheckConstraint(condition=models.Q(state__in=["x", *RunState.values]), name="run_state_valid")
    assert (
        broken_by(migrations.RemoveConstraint("run", "run_state_valid"), migrations.AddConstraint("run", wider)) == []
    )
    note = migrations.CreateModel("Note", [("id", models.BigAutoField(primary_key=True))])
    check = models.CheckConstraint(condition=models.Q(id__gt=1), name="note_is_late")
    assert broken_by(note, migrations.AddConstraint("note", check)) == []


def test_one_that_says_it_is_right_all_the_same_is_taken():
    assert broken_by(IgnoreMigration(), migrations.RemoveField("run", "end_reason")) == []


def test_those_of_this_version_are_taken(capsys: pytest.CaptureFixture[str]):
    assert main() == 0, capsys.readouterr().out
