"""The account in simulated time, in the place of pydo's client: App Platform's API at the level of one request.

Everything above it is the product's: the budget, the judgement of answers, the listing's pages, the readers. It is as
harsh as the embedded cloud or harsher: listings lag, deletions linger, names are freed late, requests take effect after
their caller has given up. `install` puts it and its sandboxes into the product, and takes them out again.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn
from unittest import mock

from django.conf import settings

from pools.cloud import app_reader, bounded, listing
from pools.cloud.api_transport import TIMEOUT_SECONDS, Answer, AnswerKept, Wire
from pools.cloud.app_spec import INSTALLATION_KEY, OWNER_KEY
from pools.cloud.errors import CloudUnavailable
from pools.localcloud.specs import REGIONS, SIZES, BadSpec, check_spec
from tests.sim.agents import Agents
from tests.sim.apps import NEVER, PHASES, Maker, SimApp, hidden, shown
from tests.sim.faults import CREATE, DELETE, LATE_EFFECT, LISTING, MINUTE, REQUEST, Faults
from tests.sim.reading import remembered, watched
from tests.sim.world import World

MISSING = "The resource you were accessing could not be found."
KINDS = {
    400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 409: "conflict",
    422: "unprocessable_entity", 429: "too_many_requests",
}  # fmt: skip
SILENT = "no reason that can be read"
DEPLOY_MEDIAN_SECONDS, DEPLOY_SIGMA = 75.0, 0.25
KEPT_GONE_SECONDS = 3600.0
MINUTE_SECONDS = 60.0
MOST_MINUTES_AT_ONCE = 60  # of a long time without a request
LATE_SECONDS = (TIMEOUT_SECONDS + 1, 300.0)
WRITES = frozenset({"create", "delete"})


class Account:
    """What is in the account, what befalls it, and the answers of its API.

    `trespasses` are deeds of the product that may never be: an app deleted that is not its own, a sandbox that serves
    two runs. `allowed` are ids of apps that an operator has confirmed by name.
    """

    def __init__(self, world: World, *, page_size: int | None = None, quota: int | None = None) -> None:
        self.world = world
        # Streams of its own: what the account draws does not depend on what others draw, nor the other way round.
        self.chance = random.Random(world.rng.getrandbits(64))
        self.fates = random.Random(world.rng.getrandbits(64))
        self.faults = Faults(world)
        self.page_size = page_size or self.chance.choice((200, 200, 200, 5, 2))
        self.quota = quota
        self.apps: dict[str, SimApp] = {}  # those that exist, oldest first
        self.gone: list[SimApp] = []  # oldest end first
        self.names: dict[str, str] = {}
        self.taken_until: dict[str, float] = {}
        self.later: list[tuple[float, Callable[[], object]]] = []  # effects to come
        self.made = 0
        self.trespasses: list[str] = []
        self.allowed: set[str] = set()
        self.orphan_grace_seconds = 0.0
        self.mark: dict[str, str] = {}
        self.prefix = "sandbox-"
        self.storm_until = self.refused_until = self.full_until = 0.0
        self.storm_share = 0.0
        self.next_minute_at = world.now().timestamp() + MINUTE_SECONDS
        self.requests: dict[str, int] = {}
        self.agents = Agents(world, self)
        self.operations: dict[str, Callable[..., Answer]] = {
            "list": self._list,
            "get": self._get,
            "create": self._create,
            "delete": self._delete,
            "validate_app_spec": self._propose,
            "list_deployments": self._deployments,
            "list_regions": self._regions,
            "list_instance_sizes": self._sizes,
        }

    # What others may ask and do.

    def existing(self) -> list[SimApp]:
        """The apps that really are, oldest first."""
        self.pass_time()
        return list(self.apps.values())

    def made_by_us(self) -> list[SimApp]:
        """Those of them that the product has asked for."""
        return [app for app in self.existing() if app.maker is Maker.API]

    def calm(self) -> None:
        """What goes on for a while ends now: storms, refusals, silent agents, and effects that are to come late."""
        self.storm_until = self.refused_until = self.full_until = 0.0
        self.agents.calm()
        due, self.later = self.later, []
        for _, effect in due:
            effect()

    def troubled_until(self) -> float:
        """When the last of what goes on for a while ends."""
        later = [at for at, _ in self.later]
        return max(self.storm_until, self.refused_until, self.full_until, *later, *self.agents.silences())

    def now(self) -> float:
        return self.world.now().timestamp()

    def pass_time(self) -> float:
        """Let happen what was to happen until now; the time."""
        now = self.now()
        if self.later and self.later[0][0] <= now:
            due = [effect for at, effect in self.later if at <= now]
            self.later = [(at, effect) for at, effect in self.later if at > now]
            for effect in due:
                effect()
        if now >= self.next_minute_at:
            minutes = min(MOST_MINUTES_AT_ONCE, int((now - self.next_minute_at) // MINUTE_SECONDS) + 1)
            self.next_minute_at = now + MINUTE_SECONDS
            for _ in range(minutes):
                for name in self.faults.each(MINUTE):
                    self.befall(name)
        return now

    # One request.

    def answer(self, operation: str, *args: Any, **kwargs: Any) -> Answer:
        """The answer to one request. Raises CloudUnavailable without one."""
        self.world.point(f"cloud {operation}")
        self.requests[operation] = self.requests.get(operation, 0) + 1
        self.world.sleep(self.chance.uniform(0.05, 0.4))
        now = self.pass_time()
        if now < self.refused_until:
            return refusal(401, "Unable to authenticate you")
        fault = self.faults.first(REQUEST)
        if fault:
            spoiled = self._before(fault)
            if spoiled is not None:
                return spoiled
        elif operation in WRITES and self.faults.first(LATE_EFFECT):
            self._put_off(operation, args, now)
            self._time_out()
        answer = self.operations[operation](*args, **kwargs)
        self.world.point(f"cloud answers {operation}")
        return self._after(fault, answer) if fault else answer

    def _before(self, fault: str) -> Answer | None:
        """What comes in the place of an effect; None when there is one all the same. Raises CloudUnavailable."""
        match fault:
            case "cloud-lost-before":
                self._break_off()
            case "cloud-unreachable":
                raise CloudUnavailable("The cloud could not be reached.")
            case "cloud-timeout":
                self._time_out()
            case "cloud-slow":
                self.world.sleep(self.chance.uniform(5, TIMEOUT_SECONDS - 1))
                self.pass_time()
            case "cloud-429":
                return refusal(429, "Too many requests", {"retry-after": str(self.chance.randint(1, 60))})
            case "cloud-429-bare":
                return refusal(429, "Too many requests")
            case "cloud-5xx":
                return refusal(self.chance.choice((500, 502, 503, 504)), "Server Error")
            case "cloud-html":
                return Answer(self.chance.choice((400, 403, 502, 503, 524)), None, SILENT, {})
            case "cloud-html-ok":
                return Answer(200, None, SILENT, {})
            case "cloud-html-404":
                return Answer(404, None, SILENT, {})
            case "cloud-redirect":
                return Answer(302, None, SILENT, {"location": "https://cloud.example.com/maintenance"})
            case "cloud-refused-once":
                return refusal(401, "Unable to authenticate you")
        return None

    def _after(self, fault: str, answer: Answer) -> Answer:
        match fault:
            case "cloud-lost-after":
                if self.chance.random() < 0.5:
                    self._time_out()
                self._break_off()
            case "cloud-5xx-after":
                return refusal(500, "Server Error")
            case "cloud-empty":
                return Answer(answer.status, None, SILENT, {})
            case "cloud-odd":
                return replace(answer, body=["something", "else"])
        return answer

    def _break_off(self) -> NoReturn:
        self.world.sleep(self.chance.uniform(0.1, 20))
        raise CloudUnavailable("The connection to the cloud broke before its answer was complete.")

    def _time_out(self) -> NoReturn:
        self.world.sleep(TIMEOUT_SECONDS)
        raise CloudUnavailable(f"The cloud did not answer within {TIMEOUT_SECONDS:g} s.")

    def _put_off(self, operation: str, args: tuple[Any, ...], now: float) -> None:
        handler = self._create if operation == "create" else self._delete
        self._do_later(now + self.chance.uniform(*LATE_SECONDS), lambda: handler(*args))

    def _do_later(self, at: float, effect: Callable[[], object]) -> None:
        self.later.append((at, effect))
        self.later.sort(key=lambda entry: entry[0])

    # The operations.

    def _create(self, body: dict[str, Any]) -> Answer:
        now = self.now()
        try:
            spec = check_spec(body.get("spec"))
        except BadSpec as error:
            return refusal(400, str(error))
        if self._has_name(spec["name"], now):
            return refusal(409, "App name already exists")
        fates = self.faults.each(CREATE)
        if "create-400" in fates:
            return refusal(400, "error validating app spec: the image could not be looked up")
        if "create-full" in fates or now < self.full_until or (self.quota is not None and len(self.apps) >= self.quota):
            return refusal(403, f"This account has reached its limit of {len(self.apps)} apps")
        if now < self.storm_until and self.chance.random() < self.storm_share:
            if self.chance.random() < 0.3:
                return refusal(503, "Service Unavailable")
            fates.append("deploy-fails")
        app = self._new(spec, Maker.API, now)
        self.mark = {key: app.variable(key) for key in (OWNER_KEY, INSTALLATION_KEY)}
        self.prefix = app.name[:-8]
        self._decide(app, fates)
        return success({"app": app.as_json(now)})

    def _decide(self, app: SimApp, fates: list[str]) -> None:
        """What will become of a new app."""
        draw = self.chance
        if "deploy-fails" in fates or "deploy-canceled" in fates:
            app.ends_in = "ERROR" if "deploy-fails" in fates else "CANCELED"
            app.error = draw.choice(
                ("container exited with a non-zero code", "failed to pull image", "capacity is not available in region")
            )
            app.tells_failure = draw.random() < 0.7
        if "deploy-sticks" in fates:
            app.stuck_in = draw.choice(PHASES)[0]
        if "deploy-slow" in fates:
            app.deploy_seconds *= draw.uniform(3, 15)
        if "listed-late" in fates:
            app.listed_from += draw.uniform(30, 240)
        if "url-late" in fates:
            app.url_late_seconds = draw.uniform(20, 300)
        if "agent-late" in fates:
            app.agent_late_seconds = draw.uniform(20, 300)
        app.agent_comes_up = "agent-stillborn" not in fates
        if "agent-no-token" in fates:
            self.agents.without_token.add(app.id)

    def _list(self, *, page: int = 1, per_page: int = 20) -> Answer:
        now, fault = self.now(), self.faults.first(LISTING)
        per_page = min(per_page, self.page_size)
        then = now - self.chance.uniform(20, 240) if fault == "list-stale" else now
        apps = self._listed(now, then)
        total = len(apps)
        if fault == "list-empty":
            apps, total = [], 0
        elif fault in ("list-torn", "list-short") and apps:
            apps.pop(self.chance.randrange(len(apps)))
            total -= fault == "list-short"
        elif fault == "list-total-wrong":
            total += self.chance.choice((-1, 1, 3))
        elif fault in ("list-twice", "list-counted-twice") and apps:
            apps.insert(0, apps[-1])
            total += fault == "list-counted-twice"
        start = (page - 1) * per_page
        on_page = [] if fault == "list-page-missing" and total > per_page else apps[start : start + per_page]
        for app in on_page:
            app.listings += 1
            app.first_listed_at = min(app.first_listed_at, now)
        entries = [app.as_json(then) for app in on_page]
        if fault == "list-marks-hidden":
            entries = [hidden(entry) for entry in entries]
        has_next = start + per_page < len(apps)
        pages = {"next": f"https://api.digitalocean.com/v2/apps?page={page + 1}"} if has_next else {}
        return success({"apps": entries, "links": {"pages": pages}, "meta": {"total": max(0, total)}})

    def _listed(self, now: float, then: float) -> list[SimApp]:
        """Newest first, as the account was at `then`."""
        apps = [app for app in self.apps.values() if app.listed_from <= then]
        if self.gone:
            self.gone = [app for app in self.gone if max(app.gone_at, app.shown_until) > now - KEPT_GONE_SECONDS]
            apps += [app for app in self.gone if app.listed_from <= then and max(app.gone_at, app.shown_until) > then]
            apps.sort(key=lambda app: app.number)
        apps.reverse()
        return apps

    def _get(self, app_id: str) -> Answer:
        app = self._found(app_id)
        return success({"app": app.as_json(self.now())}) if app else refusal(404, MISSING)

    def _deployments(self, app_id: str, *, page: int = 1, per_page: int = 20) -> Answer:
        app, now = self._found(app_id), self.now()
        if app is None:
            return refusal(404, MISSING)
        entries = [app.deployment(app.phase(now), now)] if page == 1 else []
        return success({"deployments": entries, "links": {"pages": {}}, "meta": {"total": 1}})

    def _delete(self, app_id: str) -> Answer:
        app = self._found(app_id)
        if app is None:
            return refusal(404, MISSING)
        if app.gone_at == NEVER:
            self._judge_delete(app)
            self._remove(app, self.faults.each(DELETE))
        return success({"id": app.id})

    def _judge_delete(self, app: SimApp) -> None:
        now = self.now()
        if app.maker is Maker.API or app.id in self.allowed:
            return
        if app.maker is not Maker.OLD:
            self.trespass(f"app {app.number}, a {app.maker}'s, was deleted")
        elif app.listings < 2 or 0 <= now - app.first_listed_at < self.orphan_grace_seconds:
            self.trespass(f"orphan {app.number} was deleted after {app.listings} listings, without its grace")

    def _propose(self, body: dict[str, Any]) -> Answer:
        try:
            spec = check_spec(body.get("spec"))
        except BadSpec as error:
            return refusal(400, str(error))
        return success({"app_name_available": not self._has_name(spec["name"], self.now()), "app_cost": 12})

    def _regions(self) -> Answer:
        return success({"regions": [{"slug": slug, "disabled": False} for slug in REGIONS]})

    def _sizes(self) -> Answer:
        return success({"instance_sizes": [{"slug": slug, "usd_per_month": size[0]} for slug, size in SIZES.items()]})

    # What is in the account.

    def _new(self, spec: dict[str, Any], maker: Maker, now: float) -> SimApp:
        draw = self.chance
        self.made += 1
        app = SimApp(
            number=self.made,
            id=str(uuid.UUID(int=draw.getrandbits(128), version=4)),
            spec=spec,
            shown=shown(spec),
            created_at=now,
            deploy_seconds=draw.lognormvariate(0, DEPLOY_SIGMA) * DEPLOY_MEDIAN_SECONDS,
            maker=maker,
            keeps_pending=draw.random() < 0.1,
            listed_from=now + draw.choice((0.0, 0.0, draw.uniform(0, 5))),
            url_late_seconds=draw.choice((0.0, draw.uniform(0, 4))),
            agent_late_seconds=draw.uniform(0, 6),
            deployment_id=str(uuid.UUID(int=draw.getrandbits(128), version=4)),
        )
        self.apps[app.id] = app
        self.names[app.name] = app.id
        self.agents.begin(app)
        if maker in (Maker.TWIN, Maker.COPY):  # they take places of ours; nobody else would end them
            self._do_later(now + draw.uniform(600, 7200), lambda: self._leave(app))
        self.world.log(f"app {app.number} is made by {maker}")
        return app

    def _remove(self, app: SimApp, fates: list[str], by: str = "api") -> None:
        now, draw = self.now(), self.chance
        app.gone_at = now
        app.shown_until = now + (draw.uniform(20, 300) if "gone-lingers" in fates else draw.choice((0.0, 0.0, 3.0)))
        freed_at = max(app.shown_until, now + (draw.uniform(30, 600) if "name-freed-late" in fates else 0.0))
        if freed_at > now:
            self.taken_until[app.name] = freed_at
        del self.apps[app.id]
        self.names.pop(app.name, None)
        self.gone.append(app)
        self.agents.end(app)
        self.world.log(f"app {app.number} is deleted by {by}")

    def _leave(self, app: SimApp) -> None:
        if app.id in self.apps:
            self._remove(app, [], by=app.maker)

    def _found(self, app_id: str) -> SimApp | None:
        app = self.apps.get(app_id)
        if app is None and self.gone:
            now = self.now()
            app = next((gone for gone in self.gone if gone.id == app_id and gone.shown_until > now), None)
        return app

    def _has_name(self, name: str, now: float) -> bool:
        return name in self.names or self.taken_until.get(name, 0.0) > now

    def trespass(self, deed: str) -> None:
        self.trespasses.append(deed)
        self.world.log(f"TRESPASS: {deed}")

    # What befalls it.

    def befall(self, name: str) -> None:
        """Have one of the faults of MINUTE happen now; nothing where there is nothing for it to happen to."""
        draw, now = self.fates, self.now()
        mine = [app for app in self.apps.values() if app.maker is Maker.API]
        strangers = [app for app in self.apps.values() if app.maker is Maker.STRANGER]
        owner, installation = self.mark.get(OWNER_KEY, ""), self.mark.get(INSTALLATION_KEY, "")
        ours = f"{self.prefix}{draw.getrandbits(32):08x}"
        match name:
            case "storm":
                self.storm_until, self.storm_share = now + draw.uniform(300, 7200), draw.uniform(0.3, 0.8)
            case "token-refused":
                self.refused_until = now + draw.uniform(10, 900)
            case "account-full":
                self.full_until = now + draw.uniform(60, 1800)
            case "app-vanishes" if mine:
                self._remove(draw.choice(mine), [], by="nobody")
            case "stranger-appears" if len(strangers) < 20:
                self._new(plain_spec(f"shop-{draw.getrandbits(32):08x}"), Maker.STRANGER, now)
            case "stranger-leaves" if strangers:
                self._remove(draw.choice(strangers), [], by="stranger")
            case "twin-appears" if owner and self._count(Maker.TWIN) < 3:
                self._new(plain_spec(ours, owner, "another-installation"), Maker.TWIN, now)
            case "copy-appears" if installation and self._count(Maker.COPY) < 3:
                self._new(plain_spec(ours, owner, installation), Maker.COPY, now)
            case "orphan-appears" if owner and self._count(Maker.OLD) < 3:
                self._new(plain_spec(ours, owner), Maker.OLD, now)
            case _:
                self.agents.befall(name, draw)

    def _count(self, maker: Maker) -> int:
        return sum(app.maker is maker for app in self.apps.values())


class _Client:
    """pydo's client, as far as the product knows it: operations that leave with their answer."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.apps = self

    def __getattr__(self, operation: str) -> Callable[..., NoReturn]:
        answer = self._account.answer

        def ask(*args: Any, **kwargs: Any) -> NoReturn:
            raise AnswerKept(answer(operation, *args, **kwargs))

        return ask


def success(body: dict[str, Any]) -> Answer:
    return Answer(200, body, SILENT, {})


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, {"id": KINDS.get(status, "server_error"), "message": message}, message, headers or {})


def plain_spec(name: str, owner: str = "", installation: str = "") -> dict[str, Any]:
    """An app of somebody else's."""
    mark = {OWNER_KEY: owner, INSTALLATION_KEY: installation}
    image = {"registry_type": "GHCR", "registry": "example", "repository": "shop", "tag": "1"}
    envs = [{"key": key, "value": value, "type": "GENERAL"} for key, value in mark.items() if value]
    service = {"name": "web", "image": image, "instance_size_slug": "apps-s-1vcpu-1gb", "envs": envs}
    return {"name": name, "region": "syd", "services": [service]}


@contextmanager
def install(world: World, **options: Any) -> Iterator[Account]:
    """An account of this world, which every client of the cloud and of sandboxes asks while the block runs."""
    account = Account(world, **options)
    account.orphan_grace_seconds = float(settings.ORPHAN_GRACE_SECONDS)
    with (
        mock.patch.object(Wire, "_client", return_value=_Client(account)),
        mock.patch.object(bounded, "client_for", account.agents.client_for),
        mock.patch.object(app_reader, "read_app", remembered(app_reader.read_app)),
        mock.patch.object(listing, "every_app", watched(listing.every_app, account.trespass)),
    ):
        yield account
