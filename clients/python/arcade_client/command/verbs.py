"""What each verb of the command does: ask, then show."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any
from uuid import UUID

from arcade_client.client import Arcade, Pool, Run, Webhook
from arcade_client.command.kept_tokens import KeptTokens
from arcade_client.command.output import (
    RUN_HEAD,
    Output,
    event_line,
    fact_lines,
    moment,
    plain,
    run_lines,
    run_row,
    table,
)
from arcade_client.command.receiver import Receiver
from arcade_client.errors import NotFound
from arcade_client.shapes import Delivery

DONE, FAILED = 0, 4  # exit codes
LOOKED_AT = 500  # runs among which a short id is looked for


class UsageError(Exception):
    """The command was not used as it must be."""


@dataclass(frozen=True)
class Context:
    """What every verb needs."""

    arcade: Arcade
    said: Namespace
    output: Output
    tokens: KeptTokens

    def run(self) -> Run:
        """The run that is meant, with the token that was kept of it."""
        run_id = self._whole_id(self.said.run)
        return self.arcade.run(run_id, self.tokens.of(run_id))

    def _whole_id(self, beginning: str) -> str:
        with suppress(ValueError):
            return str(UUID(beginning))
        listed = {run.run_id for run in islice(self.arcade.runs(), LOOKED_AT)}
        found = sorted(each for each in listed | set(self.tokens.run_ids()) if each.startswith(beginning.lower()))
        if not found:
            remedy = "Give the whole id, or see `arcade list`."
            raise NotFound(404, "no_such_run", f"No run of yours begins with {beginning!r}.", remedy=remedy)
        if len(found) > 1:
            raise UsageError(f"{beginning!r} may be any of {', '.join(found[:5])}: give more of the id.")
        return found[0]


def launch(context: Context) -> int:
    said, output = context.said, context.output
    run = context.arcade.launch(
        said.game,
        said.mode,
        on_miss=said.on_miss,
        use_snapshot=not said.from_source,
        labels=dict(said.label),
        idempotency_key=said.idempotency_key,
    )
    if run.token and not context.tokens.keep(run.run_id, run.token):
        sys.stderr.write(f"arcade: the token could not be kept in {context.tokens.file}\n")
    if said.follow:
        if not output.is_json:
            output.document(run.raw, [f"run {run.run_id}", f"page {run.page_url}"])
        return _follow(context, run, 0)
    launched = run
    if said.wait is not None:
        run = run.wait("running", timeout=said.wait)
    output.document({**run.raw, "token": launched.token}, run_lines(run))
    return DONE


def lists(context: Context) -> int:
    said = context.said
    found = context.arcade.runs(state=said.state, game=said.game, mode=said.mode, labels=dict(said.label))
    runs = list(islice(found, said.limit))
    context.output.document([run.raw for run in runs], table(RUN_HEAD, map(run_row, runs), "No runs."))
    return DONE


def show(context: Context) -> int:
    return _show(context, context.run())


def extend(context: Context) -> int:
    return _show(context, context.run().extend(context.said.reason))


def end(context: Context) -> int:
    return _show(context, context.run().end(context.said.reason))


def _show(context: Context, run: Run) -> int:
    context.output.document(run.raw, run_lines(run))
    return DONE


def follow(context: Context) -> int:
    return _follow(context, context.run(), context.said.after)


def _follow(context: Context, run: Run, after: int) -> int:
    state = ""
    for event in run.follow(after):
        context.output.line(event.raw, event_line(event))
        state = str(event.data.get("state", "")) if event.kind == "end" else state
    return FAILED if state == "failed" else DONE


def games(context: Context) -> int:
    found = context.arcade.games()
    rows = ((game.slug, game.title, game.runtime, "yes" if game.ready_now else "no") for game in found)
    head = ("GAME", "TITLE", "RUNTIME", "READY NOW")
    context.output.document([game.raw for game in found], table(head, rows, "No games."))
    return DONE


def limits(context: Context) -> int:
    found = context.arcade.limits()
    rows = [
        ("runs", found.active.total, found.limits.max_total),
        ("warm runs", found.active.warm, found.limits.max_warm),
        ("cold runs", found.active.cold, found.limits.max_cold),
        ("launches of the hour", found.rate.used, found.rate.limit),
        *((f"yours: {each.limit}", each.used, each.most) for each in found.yours),
    ]
    context.output.document(found.raw, table(("WHAT", "NOW", "LIMIT"), rows, ""))
    return DONE


def pools(context: Context) -> int:
    found = context.arcade.pools()
    context.output.document([pool.raw for pool in found], _pool_table(found))
    return DONE


def pool(context: Context) -> int:
    said = context.said
    wanted = {"target_ready": said.target, "min_ready": said.min, "max_ready": said.max}
    changes = {name: value for name, value in wanted.items() if value is not None}
    if (changes or said.act) and not said.reason:
        raise UsageError("say why, with --reason: it is written to the log")
    if changes and said.act:
        raise UsageError(f"change the pool or --{said.act} it, one after the other")
    found = context.arcade.pool(said.name)
    if said.act:
        found = getattr(found, said.act.replace("-", "_"))(said.reason)
    elif changes:
        found = found.set(reason=said.reason, **changes)
    context.output.document(found.raw, [*_pool_table([found]), *([plain(found.message)] if found.message else [])])
    return DONE


def _pool_table(found: list[Pool]) -> list[str]:
    rows = (
        (
            *(each.name, each.runtime, each.mode, each.counts.ready, each.counts.creating, each.counts.in_use),
            *(each.min_ready, each.target_ready, each.max_ready),
        )
        for each in found
    )
    head = ("POOL", "RUNTIME", "MODE", "READY", "CREATING", "IN USE", "MIN", "TARGET", "MAX")
    return table(head, rows, "No pools.")


def sandboxes(context: Context) -> int:
    said = context.said
    found = list(islice(context.arcade.sandboxes(state=said.state, pool=said.pool), said.limit))
    rows = (
        (
            each.name,
            each.pool,
            each.state,
            moment(each.requested_at),
            f"{each.cost_usd:.4f}",
            each.run_id,
            each.end_code,
        )
        for each in found
    )
    head = ("SANDBOX", "POOL", "STATE", "REQUESTED", "USD", "RUN", "END")
    context.output.document([each.raw for each in found], table(head, rows, "No sandboxes."))
    return DONE


def sandbox(context: Context) -> int:
    said = context.said
    if (said.retire or said.confirm) and not said.reason:
        raise UsageError("say why, with --reason: it is written to the log")
    if said.confirm not in {None, said.name}:
        raise UsageError(f"--force-delete wants the sandbox's name again: {said.name}")
    found = context.arcade.sandbox(said.name)
    if said.retire:
        found = found.retire(said.reason)
    elif said.confirm:
        found = found.force_delete(said.reason, confirm=said.confirm)
    facts = {
        "sandbox": found.name,
        "state": found.state,
        "pool": found.pool,
        "runtime": found.runtime,
        "app": found.app_id,
        "address": found.url,
        "run": found.run_id,
        "requested": moment(found.requested_at),
        "why": found.create_reason,
        "ready": moment(found.ready_at),
        "deleted": moment(found.deleted_at),
        "end": " ".join(filter(None, (found.end_code, found.end_reason))),
        "cost": f"{found.cost_usd:.6f} USD",
        "done": found.message,
    }
    context.output.document(found.raw, fact_lines(facts))
    return DONE


def webhooks(context: Context) -> int:
    said = context.said
    wanted = {"types": said.type, "scope": said.scope, "description": said.description}
    more = {name: value for name, value in wanted.items() if value is not None}
    if said.add:
        return _show_webhook(context, context.arcade.add_webhook(said.add, **more))
    if more:
        raise UsageError("say where events are to be sent, with --add")
    found = context.arcade.webhooks()
    rows = ((each.id, each.url, each.scope, ",".join(each.types) or "all", _stands(each)) for each in found)
    head = ("WEBHOOK", "SENT TO", "RUNS", "TYPES", "STATE")
    context.output.document([each.raw for each in found], table(head, rows, "No webhooks."))
    return DONE


def webhook(context: Context) -> int:
    said = context.said
    wanted = {"url": said.to, "types": said.type, "description": said.description, "is_enabled": said.is_enabled}
    changes = {name: value for name, value in wanted.items() if value is not None}
    act = said.act or (said.redeliver and "redeliver")
    if changes and act:
        raise UsageError(f"change the webhook or --{act} it, one after the other")
    found = context.arcade.webhook(said.webhook)
    match act:
        case "test":
            return _show_delivery(context, found.test())
        case "redeliver":
            return _show_delivery(context, found.redeliver(said.redeliver))
        case "deliveries":
            sent = list(islice(found.deliveries(), said.limit))
            context.output.document([each.raw for each in sent], _delivery_table(sent))
            return DONE
        case "rotate":
            secret = found.rotate()
            context.output.document({"secret": secret}, [secret])
            return DONE
        case "remove":
            found.remove()
            context.output.document({"id": found.id}, ["Removed."])
            return DONE
    return _show_webhook(context, found.change(**changes) if changes else found)


def _show_webhook(context: Context, found: Webhook) -> int:
    facts = {
        "webhook": found.id,
        "sent to": found.url,
        "runs": found.scope,
        "types": " ".join(found.types) or "all",
        "about": found.description,
        "state": _stands(found),
        "worked": moment(found.last_success_at),
        "secret": found.secret,
    }
    context.output.document(found.raw, fact_lines(facts))
    return DONE


def _stands(found: Webhook) -> str:
    return "enabled" if found.is_enabled else f"disabled: {found.disabled_code}"


def _show_delivery(context: Context, delivery: Delivery) -> int:
    context.output.document(delivery.raw, _delivery_table([delivery]))
    return DONE


def _delivery_table(found: list[Delivery]) -> list[str]:
    rows = (
        (each.id, each.type, each.state, each.attempts, each.last_status, moment(each.created_at), each.last_error)
        for each in found
    )
    head = ("DELIVERY", "TYPE", "STATE", "TRIES", "STATUS", "MADE", "ERROR")
    return table(head, rows, "Nothing was sent yet.")


def plan(context: Context) -> int:
    said = context.said
    if said.apply and not said.reason:
        raise UsageError("say why, with --reason: it is written to the log")
    found = context.arcade.plan()
    rows = [(each.kind, each.code, each.name, each.reason) for each in found.decisions]
    rows += [("held back", each.code, each.name, each.reason) for each in found.held_back]
    lines = table(("WHAT", "CODE", "ABOUT", "WHY"), rows, "The next turn would change nothing.")
    if found.summary:
        lines.append(plain(found.summary))
    if found.listing_error:
        lines.append(f"Not to be relied on: {plain(found.listing_error)}")
    if not said.apply:
        context.output.document(found.raw, lines)
        return DONE
    applied = found.apply(said.reason)
    outcome = (
        "Applied." if applied.is_done else "The turn is still at work: the orchestrator log will say what came of it."
    )
    context.output.document(applied.raw, [*lines, outcome])
    return DONE


def usage(context: Context) -> int:
    found = context.arcade.usage(context.said.since, context.said.until, context.said.by)
    rows = [
        (
            *(each.key, each.launches, each.hits, f"{each.in_use_seconds:.0f}", f"{each.idle_seconds:.0f}"),
            *(f"{each.in_use_usd:.4f}", f"{each.idle_usd:.4f}"),
        )
        for each in (*found.rows, replace(found.total, key="total"))
    ]
    head = (found.by.upper(), "LAUNCHES", "HITS", "IN USE (S)", "IDLE (S)", "IN USE (USD)", "IDLE (USD)")
    context.output.document(found.raw, table(head, rows, ""))
    return DONE


def events(context: Context) -> int:
    said = context.said
    filters = {"kind": said.kind, "run": said.run, "pool": said.pool}
    wanted = {name: value for name, value in filters.items() if value is not None}
    for event in context.arcade.events(said.after, **wanted):
        context.output.line(event.raw, plain(f"{event.seq}  {moment(event.at)}  {event.type}  {event.message}"))
    return DONE


def webhook_receiver(context: Context) -> int:
    said, output = context.said, context.output
    secret = os.environ.get("ARCADE_WEBHOOK_SECRET", "")
    if not secret:
        raise UsageError("set ARCADE_WEBHOOK_SECRET to the secret that was told when the webhook was added")

    def show(event: Mapping[str, Any]) -> None:
        output.line(event, plain(" ".join(f"{name}={value}" for name, value in event.items())))

    try:
        receiver = Receiver((said.bind, said.port), secret, show, said.count)
    except ValueError as error:
        raise UsageError(f"ARCADE_WEBHOOK_SECRET: {error}") from None
    except OSError as error:
        raise UsageError(f"can't listen on {said.bind}:{said.port}: {error.strerror}") from None
    with receiver:
        host, port = receiver.server_address[:2]
        sys.stderr.write(f"Receiving at http://{host!s}:{port}/\n")
        receiver.serve_until_done()
    return DONE


VERBS: Mapping[str, Callable[[Context], int]] = {
    "launch": launch,
    "list": lists,
    "show": show,
    "end": end,
    "extend": extend,
    "follow": follow,
    "games": games,
    "pools": pools,
    "pool": pool,
    "sandboxes": sandboxes,
    "sandbox": sandbox,
    "plan": plan,
    "limits": limits,
    "usage": usage,
    "events": events,
    "webhooks": webhooks,
    "webhook": webhook,
    "webhook-receiver": webhook_receiver,
}
