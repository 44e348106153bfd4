"""The list of mistakes. Each says what goes wrong for whom; its text stands exactly once in its file."""

from __future__ import annotations

from dataclasses import dataclass

POOLS = ("tests/integration/pools/test_trouble.py", "tests/integration/pools/test_turns.py", "tests/unit/pools")
CLOUD_WORD = ("tests/integration/pools/test_own_word.py", "tests/integration/pools/test_lag.py", *POOLS)
RUNS = ("tests/integration/runs/test_launches.py", "tests/integration/runs/test_late_workers.py")
PROXY = ("tests/integration/runs/test_proxy.py", "tests/unit/proxy")
SNAPSHOTS = ("tests/integration/games/test_snapshots.py",)


@dataclass(frozen=True, slots=True)
class Mistake:
    """`text` becomes `instead` in `file`; one of `tests` must fail then."""

    id: str
    harm: str
    file: str
    text: str
    instead: str
    tests: tuple[str, ...]


def _of(area: str, file: str, tests: tuple[str, ...], *mistakes: tuple[str, str, str, str]) -> list[Mistake]:
    return [Mistake(f"{area}-{name}", harm, file, text, instead, tests) for name, harm, text, instead in mistakes]


MISTAKES: list[Mistake] = [
    *_of(
        "claims", "pools/claims.py", POOLS + RUNS,
        ("from-any", "A second player is given a sandbox in use.", "frm=[State.READY], to=State.IN_USE",
         "frm=[State.READY, State.IN_USE], to=State.IN_USE"),
        ("unhealthy-cold", "A run is given a sandbox that is not up.", "healthy_at__isnull=False",
         "healthy_at__isnull=True"),
        ("extend-expired", "A sandbox that has expired is extended.", "state=State.IN_USE, expires_at__gt=now",
         "state=State.IN_USE"),
        ("expire-early", "A player who was given more time loses it.", "filter(pk=sandbox_id, expires_at__lte=now)",
         "filter(pk=sandbox_id)"),
        ("no-ending", "A run never hears that its sandbox goes.",
         "    sandbox_ending.send(sender=Sandbox, sandbox=sandbox, code=code, reason=reason, now=now)\n", ""),
        ("no-ready", "Those who wait never hear of a ready sandbox.",
         "    sandbox_ready.send(sender=Sandbox, sandbox=sandbox, now=now)\n", ""),
        ("not-staged", "What was staged is forgotten.", "        staged=write_staged(staged),\n", ""),
    ),
    *_of(
        "capacity", "pools/capacity.py", POOLS + RUNS,
        ("no-budget", "Money is spent past the budget.", "    _check_budget(now)\n    sandbox_id", "    sandbox_id"),
        ("one-too-many", "The fleet grows past its limit.", ":= existing.count()) >= settings",
         ":= existing.count()) > settings"),
        ("paused-pool", "A pool that is not active grows.", "pool.mode != Mode.ACTIVE", "False"),
        ("max-ready", "A pool grows past its most.", ":= mine.filter(state__in=SUPPLY).count()) >= pool",
         ":= mine.filter(state__in=SUPPLY).count()) > pool"),
        ("creates-at-once", "A pool creates more at once than it may.", ".count() >= pool.max_concurrent_creates",
         ".count() > pool.max_concurrent_creates"),
        ("same-runtime", "Room is made at the cost of the runtime that is wanted.", "idle.exclude(runtime=runtime)",
         "idle.filter(runtime=runtime)"),
        ("window", "Old costs close the door for ever.", "billed.exclude(deleted_at__lt=since)", "billed"),
    ),
    *_of(
        "act", "pools/turn/act.py", CLOUD_WORD,
        ("get-error-is-gone", "An error frees a place whose app exists.",
         "            if answer is None:\n                self.confirm_deleted",
         "            if not isinstance(answer, App):\n                self.confirm_deleted"),
        ("delete-error-is-gone", "A delete that failed counts as done, and the app costs money for ever.",
         "update(trouble=str(answer))\n                self.not_deleted(decision, answer)",
         "update(trouble=str(answer))\n                self.confirm_deleted([decision])"),
        ("verify-error-is-lost", "A game ends because a request failed.",
         "            if answer is None:\n                reason = f\"lost",
         "            if not isinstance(answer, App):\n                reason = f\"lost"),
        ("lease-never-renewed", "A second reconciler takes turns at the same time.",
         "                self.lease.renew()\n                if kind", "                if kind"),
        ("policy-takes-claimed", "Policy ends a game that is being played.", "(State.READY, *BEING_CREATED)", "LIVE"),
        ("creates-starve-deletes", "Creates use up the requests that deletes need.", "<= CREATES_LEAVE_REQUESTS",
         "< 0"),
        ("dead-is-healthy", "A sandbox whose agent is dead becomes ready.",
         "            if trouble is None:\n                self._healthy",
         "            if True:\n                self._healthy"),
        ("look-forgets", "A dead idle sandbox is never retired.", "sandbox.health_failures + 1", "0"),
        ("ended-game-is-well", "A staged game that has ended is given to a player.", "not started <= running",
         "False"),
    ),
    *_of(
        "guard", "pools/turn/guard.py", ("tests/unit/pools", *POOLS[:2]),
        ("off", "A wrong listing deletes the fleet.", "len(deletions) <= allowed", "True"),
        ("no-stop", "Nobody is told that deletions are held.",
         "[Decision(Kind.STOP, StepCode.TOO_MANY, reason), *kept]", "kept"),
    ),
    *_of(
        "breaker", "pools/turn/breaker.py", ("tests/unit/pools",),
        ("never-opens", "A pool that can't be created costs a request a turn.", "if count < FAILURES_TO_OPEN:",
         "if True:"),
        ("never-retries", "A pool stays shut for ever.", "if now < retry_at:", "if True:"),
    ),
    *_of(
        "lifecycle", "runs/lifecycle.py", RUNS,
        ("no-limits", "Launches pass every limit.", "    limits.check(mode, now)\n", ""),
        ("two-deploy", "Two workers deploy one run.", "Run.objects.filter(free, sandbox=attempt.sandbox_id",
         "Run.objects.filter(sandbox=attempt.sandbox_id"),
        ("any-attempt", "A late worker's attempt begins again.", "deploy_attempts=attempt.number - 1",
         "deploy_attempts__gte=0"),
        ("sandbox-expires-first", "The sandbox goes before its run.",
         "        claims.extend(run.sandbox_id, expires_at, now)\n    fields", "    fields"),
        ("late-failure", "A late worker fails the run that another has deployed.",
         "        frm = [RunState.DEPLOYING]\n", "        pass\n"),
        ("endless", "A game is extended without end.", "run.extensions >= settings.MAX_EXTENSIONS", "False"),
        ("revive", "A game that has expired is extended.", " or run.has_expired(now)", ""),
        ("dead-kept", "A dead sandbox goes on costing money.",
         "        claims.retire(dead.pk, code, reason, now, frm=[State.IN_USE], level=Level.WARNING)\n",
         "        del code, reason\n"),
        ("over-kept", "The sandbox of a game that is over goes on.",
         "        claims.retire(run.sandbox_id, EndCode.RUN_OVER, why, now, frm=LIVE, actor=by)\n",
         "        del why\n"),
        ("dead-worker", "A run whose worker died waits for its lease.",
         "(_was_begun(run) and is_dead(run.deploy_process))",
         "False"),
        ("lifetime-in-full", "A full fleet hands out long lives.", "SANDBOX_MIN_LIFETIME_MINUTES if full",
         "SANDBOX_MAX_LIFETIME_MINUTES if full"),
    ),
    *_of(
        "limits", "runs/limits.py", RUNS,
        ("hour", "One launch more an hour than allowed.", "if too_many >= 0:", "if too_many > 0:"),
        ("at-once", "One game more at once than allowed.", "if too_many < 0:", "if too_many <= 0:"),
        ("modes-mixed", "Warm launches use up the cold ones' limit.", "modes.count(mode), active",
         "len(modes), active"),
        ("hour-is-for-ever", "Launches of yesterday count.", "filter(created_at__gt=now - HOUR).order_by",
         "filter(created_at__lte=now).order_by"),
    ),
    *_of(
        "proxy", "runs/play/proxy.py", PROXY,
        ("post-retried", "A player's move is made twice.", 'not in ("GET", "HEAD")', 'not in ("GET", "HEAD", "POST")'),
        ("policy-on-html", "A script of a game runs as a page of ours.",
         '        headers.append((b"content-security-policy", policy.encode()))\n',
         '        if "html" in response.headers.get("content-type", ""):\n'
         '            headers.append((b"content-security-policy", policy.encode()))\n'),
        ("leads-out", "A game sends its player to a foreign site.", "raise Refused(LEADS_OUT)", "return headers"),
        ("part-is-whole", "A file that was cut off passes for whole.",
         "                flow.cut()  # the client must not take a part for the whole\n                return\n",
         "                pass\n"),
        ("over-is-there", "A game that is over is asked on.", "if seat.state in OVER:", "if False:"),
        ("our-pages", "A page of ours runs a game's code.", "raise Refused(NOT_FOR_OUR_PAGES)", "pass"),
        ("body", "A body fills the agent's memory.", "        if len(body) > LARGEST_BODY_BYTES:\n",
         "        if False:\n"),
    ),
    *_of(
        "snapshots", "games/snapshots.py", SNAPSHOTS,
        ("stale", "A game is deployed from what it was.", " and snapshot.source_digest == game.source_digest", ""),
        ("damaged", "A damaged snapshot is deployed.", "if found == snapshot.sha256:", "if found:"),
        ("unreachable-is-damaged", "An outage of the storage throws away every snapshot.",
         "level=Level.WARNING)\n        return True", "level=Level.WARNING)\n        return False"),
        ("keep-damaged", "A damaged file is kept at the next build.", "if _hash_of(key) != sha256:",
         "if not store.exists(key):"),
        ("never-pruned", "Old snapshots fill the disk.", '("-built_at")[OLD_KEPT:]', '("-built_at")[:0]'),
    ),
]  # fmt: skip
