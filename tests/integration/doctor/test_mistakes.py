"""The doctor finds each mistake by its own code, and finds nothing else with it."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import redis as redis_client
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from orchestrator_site.doctor.codes import Code, Level
from orchestrator_site.models import Beat
from pools.cloud.app_spec import app_spec
from pools.cloud.records import AppSpec
from pools.models import Fleet, Pool, Sandbox, State
from pools.this_machine import this_host
from pools.webhooks import Webhook
from tests.fixtures.waiting import free_port
from tests.integration.doctor.conftest import Installation, beat, troubles

REGIONS = {"regions": [{"slug": "syd", "disabled": True}, {"slug": "ams", "disabled": False}]}
SIZES = {"instance_sizes": [{"slug": "apps-s-1vcpu-1gb", "usd_per_month": "13.50"}]}
S3_DENIED = b"<Error><Code>AccessDenied</Code><Message>You may only read.</Message></Error>"
SCOPES = ("app:read", "app:create", "app:update", "app:delete")
SPEC = AppSpec(
    name="sandbox-0a1b2c3d",
    owner="local",
    image="bikramkgupta/sandbox-python-service:latest",
    region="syd",
    size="apps-s-1vcpu-1gb",
    token="a-token",
    installation="another",
)


class Mistake(NamedTuple):
    check: str
    code: Code
    make: Callable[[Installation], None]


MISTAKES: list[Mistake] = []


def mistake(check: str, code: Code) -> Callable[[Callable[[Installation], None]], None]:
    return lambda make: MISTAKES.append(Mistake(check, code, make))


def nowhere() -> str:
    return f"http://127.0.0.1:{free_port()}"


# The cloud.


@mistake("token", Code.TOKEN_REFUSED)
def a_wrong_token(well: Installation) -> None:
    well.settings.DIGITALOCEAN_TOKEN = "dop_v1_of-somebody-else"


@mistake("scope_read", Code.SCOPE_READ_MISSING)
def a_token_that_may_not_read(well: Installation) -> None:
    well.cloud.control.settings(scopes={well.cloud.token: [each for each in SCOPES if each != "app:read"]})


@mistake("scope_create", Code.SCOPE_CREATE_MISSING)
def a_token_that_may_not_create(well: Installation) -> None:
    well.cloud.control.settings(scopes={well.cloud.token: [each for each in SCOPES if each != "app:create"]})


@mistake("scope_delete", Code.SCOPE_DELETE_MISSING)
def a_token_that_may_not_delete(well: Installation) -> None:
    well.cloud.control.settings(scopes={well.cloud.token: [each for each in SCOPES if each != "app:delete"]})


@mistake("token", Code.CLOUD_UNREACHABLE)
def a_cloud_that_is_away(well: Installation) -> None:
    well.settings.DIGITALOCEAN_API_URL = nowhere()


@mistake("token", Code.CLOUD_UNREACHABLE)
def a_cloud_that_hangs(well: Installation) -> None:
    well.cloud.fault(operation="list", hang=True)


@mistake("token", Code.CLOUD_ADDRESS_WRONG)
def an_address_that_is_none_of_an_api(well: Installation) -> None:
    well.settings.DIGITALOCEAN_API_URL = "http://somebody@127.0.0.1"


@mistake("token", Code.RATE_GONE)
def a_cloud_that_wants_silence(well: Installation) -> None:
    well.cloud.fault(operation="list", status=429, retry_after=60)


@mistake("rate", Code.RATE_LOW)
def an_hour_that_is_nearly_used_up(well: Installation) -> None:
    spent = {str(int(time.time() // 60)): 4900}
    Fleet.objects.update(request_budget={"blocked_until": 0, "refusals": 0, "spent": [{}, spent]})


@mistake("region", Code.REGION_GONE)
def a_region_that_does_not_exist(well: Installation) -> None:
    well.settings.SANDBOX_REGION = "mel"


@mistake("region", Code.REGION_GONE)
def a_region_that_takes_no_apps_now(well: Installation) -> None:
    well.cloud.fault(operation="regions", json=REGIONS)


@mistake("size", Code.SIZE_GONE)
def a_size_that_a_pool_still_wants(well: Installation) -> None:
    Pool.objects.create(name="python", runtime="python", image=SPEC.image, region="syd", size="apps-s-2vcpu-3gb")


@mistake("size", Code.PRICE_DIFFERS)
def a_price_that_was_raised(well: Installation) -> None:
    well.cloud.fault(operation="sizes", json=SIZES)


@mistake("image", Code.IMAGE_REFUSED)
def an_image_that_is_gone(well: Installation) -> None:
    well.settings.SANDBOX_IMAGES = {"python": "bikramkgupta/sandbox-pyhton-service:latest"}


@mistake("image", Code.IMAGE_REFUSED)
def an_image_without_a_tag(well: Installation) -> None:
    well.settings.SANDBOX_IMAGES = {"python": "bikramkgupta/sandbox-python-service"}


@mistake("installations", Code.ANOTHER_INSTALLATION)
def two_installations_of_one_id(well: Installation) -> None:
    spec = app_spec(replace(SPEC, owner=well.settings.ORCHESTRATOR_ID))
    well.cloud.control._json("POST", "/_local/apps", json={"spec": spec})


# The database, and who wakes.


@mistake("migrations", Code.MIGRATIONS_PENDING)
def migrations_that_are_missing(well: Installation) -> None:
    recorder = MigrationRecorder(connection)
    name = max(name for app, name in recorder.applied_migrations() if app == "runs")
    recorder.record_unapplied("runs", name)
    well.later.callback(recorder.record_applied, "runs", name)


@mistake("migrations", Code.MIGRATIONS_UNKNOWN)
def a_database_of_a_newer_version(well: Installation) -> None:
    recorder = MigrationRecorder(connection)
    recorder.record_applied("runs", "9999_of_tomorrow")
    well.later.callback(recorder.record_unapplied, "runs", "9999_of_tomorrow")


@mistake("writable", Code.DATABASE_NOT_WRITABLE)
def a_database_that_somebody_holds_locked(well: Installation) -> None:
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    well.later.callback(other.close)


@mistake("redis", Code.REDIS_UNREACHABLE)
def a_redis_that_is_down(well: Installation) -> None:
    well.settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"


@mistake("redis", Code.REDIS_REFUSES)
def a_redis_that_needs_a_password(well: Installation) -> None:
    url = well.fixture("redis").url
    client = redis_client.Redis.from_url(url)
    client.config_set("requirepass", "open-sesame")
    well.later.callback(redis_client.Redis.from_url(url, password="open-sesame").config_set, "requirepass", "")
    well.settings.REDIS_URL = url


@mistake("redis", Code.REDIS_SILENT)
def a_redis_whose_user_may_not_publish(well: Installation) -> None:
    url = well.fixture("redis").url
    redis_client.Redis.from_url(url).execute_command("ACL", "SETUSER", "mute", "on", ">word", "~*", "+@all", "-@pubsub")
    well.settings.REDIS_URL = url.replace("redis://", "redis://mute:word@")


# The clusters.


@mistake("workers", Code.NO_WORKER)
def no_worker(well: Installation) -> None:
    Beat.objects.all().delete()


@mistake("workers", Code.NO_WORKER)
def a_worker_whose_machine_died(well: Installation) -> None:
    Beat.objects.update(at=timezone.now() - timedelta(minutes=2))


@mistake("workers", Code.WORKER_FROZEN)
def a_frozen_worker(well: Installation) -> None:
    beat(this_host(), well.started("qcluster"), at=timezone.now() - timedelta(minutes=2))


@mistake("turns", Code.TURNS_STOPPED)
def turns_that_stopped(well: Installation) -> None:
    Fleet.objects.update(turned_at=timezone.now() - timedelta(minutes=10))


@mistake("clock", Code.CLOCK_OFF)
def a_worker_with_another_time(well: Installation) -> None:
    beat(clock_ahead_seconds=-90)


# Addresses.


@mistake("public_address", Code.ADDRESS_ANOTHERS)
def the_public_address_of_somebody_else(well: Installation) -> None:
    well.settings.PUBLIC_URL = well.served(200, b'{"proof": "0123456789abcdef"}')


@mistake("public_address", Code.ADDRESS_UNREACHABLE)
def a_public_address_at_which_nobody_listens(well: Installation) -> None:
    well.settings.PUBLIC_URL = nowhere()


@mistake("public_address", Code.ADDRESS_UNREACHABLE)
def a_proxy_that_finds_no_web_server(well: Installation) -> None:
    well.settings.PUBLIC_URL = well.served(502, b"Bad Gateway")


@mistake("play_address", Code.ADDRESS_ANOTHERS)
def an_address_for_games_that_leads_elsewhere(well: Installation) -> None:
    well.settings.PLAY_URL = well.served(404, b"")


def ready_sandbox(url: str) -> None:
    Sandbox.objects.create(
        name=SPEC.name, runtime="python", image=SPEC.image, region="syd", size=SPEC.size, url=url, state=State.READY,
        origin="pool", create_code="demand", create_reason="a test wants it", requested_at=timezone.now(),
        ready_at=timezone.now(),
    )  # fmt: skip


@mistake("from_sandbox", Code.SANDBOX_CUT_OFF)
def a_sandbox_that_does_not_reach_the_site(well: Installation) -> None:
    ready_sandbox(well.served(200, b'{"stdout": "", "stderr": "URLError: timed out", "exit_code": 1}'))


@mistake("from_sandbox", Code.SANDBOX_CUT_OFF)
def a_sandbox_whose_agent_is_gone(well: Installation) -> None:
    ready_sandbox(nowhere())


@mistake("metrics", Code.METRICS_SILENT)
def figures_that_nobody_tells(well: Installation) -> None:
    well.settings.METRICS_PORT = free_port()


@mistake("mail", Code.MAIL_UNREACHABLE)
def a_mail_server_that_is_away(well: Installation) -> None:
    well.settings.ALERT_EMAILS, well.settings.EMAIL_PORT = ["ada@example.com"], free_port()


@mistake("webhooks", Code.WEBHOOK_UNREACHABLE)
def a_webhook_that_leads_nowhere(well: Installation) -> None:
    well.settings.WEBHOOKS_MAY_GO_INSIDE = True
    now = timezone.now()
    Webhook.objects.create(url=nowhere(), owner="key:0000", seq=0, secret="s", created_at=now, created_by="ada")


# The secret key.


@mistake("secret_key", Code.SECRET_KEY_WEAK)
def a_short_secret_key(well: Installation) -> None:
    well.settings.SECRET_KEY = "change-me"


@mistake("key_of_database", Code.SECRET_KEY_CHANGED)
def another_secret_key_than_the_databases(well: Installation) -> None:
    Fleet.objects.update(key_fingerprint="0123456789abcdef")


# The machine.


@mistake("disk", Code.DISK_FULL)
def a_full_disk(well: Installation) -> None:
    well.settings.VAR_DIR = well.mounted("size=1m")


@mistake("disk", Code.DISK_LOW)
def a_disk_that_is_nearly_full(well: Installation) -> None:
    well.settings.VAR_DIR = well.mounted("size=500m")


@mistake("inodes", Code.INODES_GONE)
def a_disk_that_can_hold_no_more_files(well: Installation) -> None:
    well.settings.VAR_DIR = well.mounted("size=4g,nr_inodes=9")


@mistake("var", Code.VAR_NOT_WRITABLE)
def a_folder_that_can_t_be_written_to(well: Installation) -> None:
    well.settings.VAR_DIR = well.mounted("size=4g,ro")


@mistake("var", Code.VAR_OPEN)
def a_folder_that_others_can_read(well: Installation) -> None:
    well.settings.VAR_DIR = well.folder / "var"
    well.settings.VAR_DIR.mkdir(mode=0o755)


# Games and snapshots.


def in_folder(well: Installation, folder: Path) -> None:
    backend = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": folder}}
    well.settings.STORAGES = well.settings.STORAGES | {"snapshots": backend}


def in_bucket(well: Installation, url: str) -> None:
    well.settings.SPACES = {"bucket": "snaps", "region": "syd1", "access_key": "a-key", "secret_key": "a-secret"}
    well.settings.SPACES_ENDPOINT_URL = url
    well.settings.STORAGES = well.settings.STORAGES | {"snapshots": {"BACKEND": "games.spaces.SpacesStorage"}}


@mistake("snapshots", Code.SNAPSHOTS_NOT_WRITABLE)
def a_folder_of_snapshots_that_can_t_be_written_to(well: Installation) -> None:
    in_folder(well, well.mounted("ro"))


@mistake("snapshots", Code.BUCKET_REFUSES)
def a_bucket_that_is_read_only(well: Installation) -> None:
    in_bucket(well, well.served(403, S3_DENIED))


@mistake("snapshots", Code.BUCKET_UNREACHABLE)
def a_bucket_that_is_away(well: Installation) -> None:
    in_bucket(well, nowhere())


@mistake("catalog", Code.CATALOG_MISSING)
def a_catalog_that_is_missing(well: Installation) -> None:
    well.settings.CATALOG_DIR = well.folder / "games"


@mistake("catalog", Code.CATALOG_EMPTY)
def games_that_are_misspelled(well: Installation) -> None:
    well.settings.AVAILABLE_GAMES = ["snaek"]


@mistake("catalog", Code.MANIFEST_WRONG)
def a_game_whose_manifest_is_broken(well: Installation) -> None:
    well.settings.CATALOG_DIR = Path(shutil.copytree(well.settings.CATALOG_DIR, well.folder / "games"))
    (well.folder / "games" / "snake" / "game.toml").write_text("slug = ")


# Settings that contradict each other.


@mistake("limits", Code.LIMITS_CONTRADICT)
def a_limit_that_is_never_met(well: Installation) -> None:
    well.settings.MAX_RUNS_PER_HOUR_PER_CLIENT = 500


@mistake("limits", Code.LIMITS_CONTRADICT)
def a_pool_that_is_to_keep_more_than_there_may_be(well: Installation) -> None:
    Pool.objects.create(
        name="python", runtime="python", image=SPEC.image, region="syd", size=SPEC.size, min_ready=4, max_ready=4
    )


@mistake("limits", Code.LIMITS_CONTRADICT)
def a_budget_that_pays_for_less_than_is_kept(well: Installation) -> None:
    well.settings.MONTHLY_BUDGET_USD = 10.0
    Pool.objects.create(name="python", runtime="python", image=SPEC.image, region="syd", size=SPEC.size, min_ready=1)


@mistake("hosts", Code.HOSTS_OPEN)
def a_site_that_answers_to_every_name(well: Installation) -> None:
    well.settings.ALLOWED_HOSTS = ["*"]


def test_what_is_well_has_no_failure_and_no_warning(installation: Installation):
    findings = installation.examined()
    assert troubles(findings) == {}
    not_looked_at = [name for name, finding in findings.items() if finding.level is Level.SKIPPED]
    assert not_looked_at == ["from_sandbox"], "no sandbox is ready"


@pytest.mark.parametrize("seeded", MISTAKES, ids=lambda each: each.make.__name__)
def test_a_mistake_is_found_by_its_own_code_and_it_alone(installation: Installation, seeded: Mistake):
    seeded.make(installation)
    findings = installation.examined()
    assert troubles(findings) == {seeded.check: seeded.code}, findings
    assert findings[seeded.check].remedy
