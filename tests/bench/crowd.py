"""A long past in the database: a million runs with their sandboxes and lines, written by the database itself."""

from __future__ import annotations

import json
from typing import Any

from django.db import connection, transaction
from django.db.models import CharField, Model, TextField
from django.utils import timezone

from games.models import Game
from pools.models import EventCursor, FleetEvent, Pool, Sandbox
from runs.models import Run, RunEvent

RUNS_A_DAY = 1_000_000 / 30
LAST_SEQ = 2_000_000_000
AGO = "86400.0 * i / {a_day} + 900 - ({plus})"  # in seconds

ROWS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {until})",
    "postgresql": "WITH n(i) AS (SELECT * FROM generate_series({first}, {until} - 1))",
}
ID = {
    "sqlite": "printf('{digit}%07x', i) || '00004000800000000000' || printf('%04x', i % 65536)",
    "postgresql": (
        "('{digit}' || lpad(to_hex(i), 7, '0') || '00004000800000000000' || lpad(to_hex(i % 65536), 4, '0'))::uuid"
    ),
}
MOMENT = {
    "sqlite": (f"strftime('%Y-%m-%d %H:%M:%f', '{{now}}', printf('-%.3f seconds', {AGO}))"),
    "postgresql": f"'{{now}}+00'::timestamptz - ({AGO}) * interval '1 second'",
}


def defaults(model: type[Model]) -> dict[str, str]:
    """What Django would write into each column that may not be empty, as SQL."""
    found = {}
    for field in model._meta.concrete_fields:
        if not field.null and not field.primary_key and field.has_default():
            value = field.get_db_prep_save(field.get_default(), connection)
            text = value if isinstance(value, str) else json.dumps(getattr(value, "obj", value))
            found[field.column] = f"'{text}'" if not isinstance(value, int | float) else text
        elif not field.null and field.empty_strings_allowed and isinstance(field, CharField | TextField):
            found[field.column] = "''"
    return found


def crowd(first: int, until: int) -> None:
    """Write runs that are over, each with a deleted sandbox, at the pace of a million in 30 days. Number 0 is the
    newest; those from `first` on are written, up to `until`."""
    pool = Pool.objects.get()
    game = Game.objects.get()
    vendor, now = connection.vendor, timezone.now()
    rows = ROWS[vendor].format(first=first, until=until)

    def at(plus: str) -> str:
        return MOMENT[vendor].format(now=f"{now:%Y-%m-%d %H:%M:%S}", a_day=RUNS_A_DAY, plus=plus)

    def pk(digit: str) -> str:
        return ID[vendor].format(digit=digit)

    def insert(cursor: Any, model: type[Model], columns: dict[str, str]) -> None:
        table = model._meta.db_table
        existing = {field.name for field in connection.introspection.get_table_description(cursor, table)}
        given = defaults(model) | columns
        kept = {column: value for column, value in given.items() if column in existing}
        head, body = f"INSERT INTO {table} ({', '.join(kept)})", f"SELECT {', '.join(kept.values())} FROM n"
        cursor.execute(f"{head} {rows} {body}" if vendor == "postgresql" else f"{rows} {head} {body}")

    true = "true" if vendor == "postgresql" else "1"
    name = "'sandbox-' || " + ("lpad(to_hex(i), 8, '0')" if vendor == "postgresql" else "printf('%08x', i)")
    # One in 50 failed while it was made; one in four was made for one launch; the others waited in the pool.
    sandbox = {
        "id": pk("a"),
        "name": name,
        "pool_id": f"CASE WHEN i % 4 = 3 THEN NULL ELSE {pool.pk} END",
        "runtime": "'python'",
        "image": "'a/b:c'",
        "region": "'syd'",
        "size": "CASE WHEN i % 7 = 0 THEN 'apps-s-1vcpu-2gb' ELSE 'apps-s-1vcpu-1gb' END",
        "app_id": "'app-' || i",
        "url": "''",
        "state": "'deleted'",
        "origin": "CASE WHEN i % 4 = 3 THEN 'cold' ELSE 'pool' END",
        "create_code": "'demand'",
        "create_reason": "'somebody launched'",
        "end_code": "'run_over'",
        "end_reason": "'its run is over'",
        "failure_kind": "CASE WHEN i % 50 = 0 THEN 'provider' ELSE '' END",
        "staged": "'{}'",
        "health_failures": "0",
        "trouble": "''",
        "requested_at": at("0"),
        "create_sent_at": at("1"),
        "accepted_at": at("2"),
        "healthy_at": at("30"),
        "ready_at": f"CASE WHEN i % 50 = 0 OR i % 4 = 3 THEN NULL ELSE {at('40')} END",
        "acquired_at": at("100"),
        "expires_at": at("700"),
        "delete_requested_at": at("600 + i % 97"),
        "delete_sent_at": at("700"),
        "deleted_at": at("720 + i % 89"),
    }
    run = {
        "id": pk("b"),
        "game_id": str(game.pk),
        "sandbox_id": pk("a"),
        "mode": "CASE WHEN i % 8 = 3 THEN 'cold' ELSE 'warm' END",
        "served_by": "CASE WHEN i % 4 <> 3 THEN 'pool' WHEN i % 8 = 3 THEN 'cold' ELSE 'cold_fallback' END",
        "notice_code": "''",
        "notice": "''",
        "use_snapshot": true,
        "deployed_from": "CASE WHEN i % 2 = 0 THEN 'staged' ELSE 'snapshot' END",
        "state": "CASE WHEN i % 50 = 0 THEN 'failed' ELSE 'ended' END",
        "end_code": "CASE WHEN i % 50 = 0 THEN 'sandbox_failed' ELSE 'time_up' END",
        "end_reason": "'Its time was up.'",
        "visitor": "'visitor ' || (i % 5000)",
        "extensions": "0",
        "deploy_attempts": "1",
        "restarts": "0",
        "deploy_process": "''",
        "acquire_ms": "30",
        "bootstrap_ms": "5",
        "restore_ms": "40",
        "start_ms": "200 + i % 500",
        "total_ms": "CASE WHEN i % 50 = 0 THEN NULL ELSE 275 + i % 500 END",
        "last_seq": "1",
        "created_at": at("CASE WHEN i % 5 = 0 THEN 20 ELSE 100 END"),
        "acquired_at": at("100"),
        "ready_at": f"CASE WHEN i % 50 = 0 THEN NULL ELSE {at('101')} END",
        "expires_at": at("700"),
        "ended_at": at("600 + i % 97"),
    }
    with transaction.atomic(), connection.cursor() as cursor:
        insert(cursor, Sandbox, sandbox)
        insert(cursor, Run, run)
        run_line = {
            "run_id": pk("b"), "kind": "'log'", "level": "'info'", "message": "'it says something'", "data": "'{}'",
            "seq": "1", "at": at("110"),
        }  # fmt: skip
        log_line = {
            "seq": f"{LAST_SEQ} - i", "at": at("110"), "kind": "'acquire'", "code": "''", "level": "'info'",
            "message": "'acquired by a run'", "sandbox_name": name, "app_id": "'app-' || i", "pool_name": "'python'",
            "run_id": pk("b"), "actor": "''", "data": "'{}'",
        }  # fmt: skip
        insert(cursor, RunEvent, run_line)
        insert(cursor, FleetEvent, log_line)
    EventCursor.objects.update_or_create(name="fleet", defaults={"last_seq": LAST_SEQ})
