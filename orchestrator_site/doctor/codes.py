"""What the doctor can find, as codes, and what to do about each, as sentences."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"  # what it needs is not there, and has a line of its own


class Code(StrEnum):
    OK = "ok"
    SKIPPED = "skipped"
    NO_ANSWER = "no_answer"
    BROKEN = "broken"

    SETTINGS_REFUSED = "settings_refused"
    LIMITS_CONTRADICT = "limits_contradict"
    HTTPS_WITHOUT_PROXY = "https_without_proxy"
    PUBLIC_URL_LOCAL = "public_url_local"
    HOSTS_OPEN = "hosts_open"
    DEBUG_IS_PUBLIC = "debug_is_public"
    SECRET_KEY_WEAK = "secret_key_weak"  # noqa: S105  a code, as those below
    SECRET_KEY_CHANGED = "secret_key_changed"  # noqa: S105

    VAR_NOT_WRITABLE = "var_not_writable"
    VAR_OPEN = "var_open"
    DISK_FULL = "disk_full"
    DISK_LOW = "disk_low"
    INODES_GONE = "inodes_gone"
    INODES_LOW = "inodes_low"
    CLOCK_OFF = "clock_off"

    DATABASE_MISSING = "database_missing"
    DATABASE_UNREACHABLE = "database_unreachable"
    DATABASE_OLD = "database_old"
    DATABASE_READ_ONLY = "database_read_only"
    DATABASE_NOT_WRITABLE = "database_not_writable"
    MIGRATIONS_PENDING = "migrations_pending"
    MIGRATIONS_UNKNOWN = "migrations_unknown"
    ISOLATION_OTHER = "isolation_other"
    POOLER_WITHOUT_REDIS = "pooler_without_redis"
    REDIS_UNREACHABLE = "redis_unreachable"
    REDIS_REFUSES = "redis_refuses"
    REDIS_OLD = "redis_old"
    REDIS_SILENT = "redis_silent"

    CLOUD_UNREACHABLE = "cloud_unreachable"
    CLOUD_ADDRESS_WRONG = "cloud_address_wrong"
    TOKEN_REFUSED = "token_refused"  # noqa: S105
    SCOPE_READ_MISSING = "scope_read_missing"
    SCOPE_CREATE_MISSING = "scope_create_missing"
    SCOPE_DELETE_MISSING = "scope_delete_missing"
    RATE_GONE = "rate_gone"
    RATE_LOW = "rate_low"
    REGION_GONE = "region_gone"
    SIZE_GONE = "size_gone"
    PRICE_DIFFERS = "price_differs"
    IMAGE_REFUSED = "image_refused"
    IMAGE_GONE = "image_gone"
    IMAGE_PRIVATE = "image_private"
    REGISTRY_UNREACHABLE = "registry_unreachable"
    ANOTHER_INSTALLATION = "another_installation"

    NO_WORKER = "no_worker"
    WORKER_FROZEN = "worker_frozen"
    TURNS_STOPPED = "turns_stopped"
    SNAPSHOTS_NOT_WRITABLE = "snapshots_not_writable"
    BUCKET_UNREACHABLE = "bucket_unreachable"
    BUCKET_REFUSES = "bucket_refuses"
    CATALOG_MISSING = "catalog_missing"
    CATALOG_EMPTY = "catalog_empty"
    MANIFEST_WRONG = "manifest_wrong"

    ADDRESS_UNREACHABLE = "address_unreachable"
    ADDRESS_CERTIFICATE = "address_certificate"
    ADDRESS_ANOTHERS = "address_anothers"
    SANDBOX_CUT_OFF = "sandbox_cut_off"
    METRICS_SILENT = "metrics_silent"
    WEBHOOK_UNREACHABLE = "webhook_unreachable"
    MAIL_UNREACHABLE = "mail_unreachable"


class Advice(NamedTuple):
    level: Level
    remedy: str  # empty when there is nothing to do


def _failed(remedy: str) -> Advice:
    return Advice(Level.FAILED, remedy)


def _warning(remedy: str) -> Advice:
    return Advice(Level.WARNING, remedy)


ADVICE = {
    Code.OK: Advice(Level.OK, ""),
    Code.SKIPPED: Advice(Level.SKIPPED, ""),
    Code.NO_ANSWER: _failed("Find out why it hangs: the network on the way there, or a machine that is overloaded."),
    Code.BROKEN: _failed("The check itself failed: please report it, with this line."),
    Code.SETTINGS_REFUSED: _failed("Correct that variable: docs/configuration.md says what each accepts."),
    Code.LIMITS_CONTRADICT: _failed("Change one of the two, so that both can be met."),
    Code.HTTPS_WITHOUT_PROXY: _failed(
        "Set TRUSTED_PROXIES to the number of your proxies; without one, begin PUBLIC_URL with http://."
    ),
    Code.PUBLIC_URL_LOCAL: _failed("Set PUBLIC_URL to the address at which browsers and sandboxes find this site."),
    Code.HOSTS_OPEN: _warning("Name your hosts in ALLOWED_HOSTS, or leave it empty: PUBLIC_URL's is always in it."),
    Code.DEBUG_IS_PUBLIC: _failed("Remove DEBUG: its pages show settings and code to everybody."),
    Code.SECRET_KEY_WEAK: _failed(
        "Make a long random one, for example with `openssl rand -base64 48`; put the present one into "
        "SECRET_KEY_FALLBACKS."
    ),
    Code.SECRET_KEY_CHANGED: _failed("Put the former key into SECRET_KEY_FALLBACKS, on every machine, and restart."),
    Code.VAR_NOT_WRITABLE: _failed("Give the folder to the user that runs this, or set ORCHESTRATOR_VAR to another."),
    Code.VAR_OPEN: _failed("Close it: chmod go-rwx."),
    Code.DISK_FULL: _failed("Free some space, or set ORCHESTRATOR_VAR to a folder on another disk."),
    Code.DISK_LOW: _warning("Free some space before it is full."),
    Code.INODES_GONE: _failed("Delete files that nobody needs: the disk has space, but can't hold more files."),
    Code.INODES_LOW: _warning("Delete files that nobody needs before there is room for no more."),
    Code.CLOCK_OFF: _failed("Set the machine's clock, and keep it right: timedatectl set-ntp true."),
    Code.DATABASE_MISSING: _failed(
        "Start `manage.py up`, or run `manage.py prepare`. If there is a database, set ORCHESTRATOR_VAR to its folder."
    ),
    Code.DATABASE_UNREACHABLE: _failed("Start the database, or correct DATABASE_URL."),
    Code.DATABASE_OLD: _failed("Upgrade the database server."),
    Code.DATABASE_READ_ONLY: _failed(
        "Name the server that is written to in DATABASE_URL; or let its role, its folder and its disk be written to."
    ),
    Code.DATABASE_NOT_WRITABLE: _failed("Find out who holds it locked, or what keeps it from writing: a full disk?"),
    Code.MIGRATIONS_PENDING: _failed("Run `manage.py prepare`."),
    Code.MIGRATIONS_UNKNOWN: _warning("A newer version has migrated this database: upgrade this machine, too."),
    Code.ISOLATION_OTHER: _failed(
        "ALTER ROLE … SET default_transaction_isolation = 'read committed', and the same for the database."
    ),
    Code.POOLER_WITHOUT_REDIS: _failed("Set REDIS_URL, or put the pooler in session mode."),
    Code.REDIS_UNREACHABLE: _failed("Start Redis, or correct REDIS_URL."),
    Code.REDIS_REFUSES: _failed("Put its password into REDIS_URL: redis://:password@host:6379/0."),
    Code.REDIS_OLD: _failed("Upgrade it to Redis 5, or to Valkey."),
    Code.REDIS_SILENT: _failed("Let its user publish and subscribe (ACL: +@pubsub &*)."),
    Code.CLOUD_UNREACHABLE: _failed(
        "With DIGITALOCEAN_TOKEN: look at the network and status.digitalocean.com. Without: `manage.py up` starts the "
        "embedded cloud."
    ),
    Code.CLOUD_ADDRESS_WRONG: _failed("Correct DIGITALOCEAN_API_URL or DIGITALOCEAN_TOKEN."),
    Code.TOKEN_REFUSED: _failed("Set a working DIGITALOCEAN_TOKEN, on every machine, and restart."),
    Code.SCOPE_READ_MISSING: _failed("Give the token the scope app:read, or make one that has it."),
    Code.SCOPE_CREATE_MISSING: _failed("Give the token the scope app:create, or make one that has it."),
    Code.SCOPE_DELETE_MISSING: _failed("Give the token the scope app:delete: without it nothing is ever deleted."),
    Code.RATE_GONE: _failed("Wait, and find out who else uses the token: each has 5,000 requests an hour."),
    Code.RATE_LOW: _warning("Find out who else uses the token, or lower CLOUD_REQUESTS_PER_MINUTE."),
    Code.REGION_GONE: _failed("Choose another: SANDBOX_REGION, and the region on the pool's page."),
    Code.SIZE_GONE: _failed("Choose another: SANDBOX_SIZE, and the size on the pool's page."),
    Code.PRICE_DIFFERS: _warning("Costs and the budget are estimated with the other price: upgrade when there is one."),
    Code.IMAGE_REFUSED: _failed("Correct SANDBOX_IMAGE_PYTHON or SANDBOX_IMAGE_NODE, or the image on the pool's page."),
    Code.IMAGE_GONE: _failed("Correct SANDBOX_IMAGE_PYTHON or SANDBOX_IMAGE_NODE, or the image on the pool's page."),
    Code.IMAGE_PRIVATE: _failed("Make the package public in GHCR: sandboxes pull it without credentials."),
    Code.REGISTRY_UNREACHABLE: _warning("Look at the network; DigitalOcean pulls from there, not this machine."),
    Code.ANOTHER_INSTALLATION: _failed(
        "Give each database its own ORCHESTRATOR_ID; for a database that was restored: `manage.py adopt`."
    ),
    Code.NO_WORKER: _failed("Start a cluster: `manage.py up` or `manage.py qcluster`."),
    Code.WORKER_FROZEN: _failed("End that process and start it again; look at its machine: paused, or out of memory?"),
    Code.TURNS_STOPPED: _failed("Read the orchestrator log and the cluster's log: they name what ends each turn."),
    Code.SNAPSHOTS_NOT_WRITABLE: _failed("Give the folder to the user that runs this."),
    Code.BUCKET_UNREACHABLE: _failed("Correct SPACES_REGION or SPACES_ENDPOINT_URL, or look at the network."),
    Code.BUCKET_REFUSES: _failed(
        "Correct SPACES_BUCKET and its keys; the key must be allowed to read, write and delete."
    ),
    Code.CATALOG_MISSING: _failed("Set CATALOG_DIR to the folder that holds the games."),
    Code.CATALOG_EMPTY: _failed("Correct AVAILABLE_GAMES or CATALOG_DIR: nobody can play anything."),
    Code.MANIFEST_WRONG: _warning("Correct that game's game.toml, then run `manage.py catalog`."),
    Code.ADDRESS_UNREACHABLE: _failed("Start the web server, or correct PUBLIC_URL, PLAY_URL, the name or the proxy."),
    Code.ADDRESS_CERTIFICATE: _failed("Renew the certificate, or correct the proxy that shows it."),
    Code.ADDRESS_ANOTHERS: _failed(
        "Correct PUBLIC_URL, PLAY_URL, or the proxy; or give all machines the same SECRET_KEY and ORCHESTRATOR_ID."
    ),
    Code.SANDBOX_CUT_OFF: _failed("Let sandboxes reach PUBLIC_URL: they fetch the games and snapshots from there."),
    Code.METRICS_SILENT: _failed("Start `manage.py metrics`, or free the port: METRICS_PORT, METRICS_BIND."),
    Code.WEBHOOK_UNREACHABLE: _warning("Tell its owner, or switch the webhook off."),
    Code.MAIL_UNREACHABLE: _failed("Correct EMAIL_HOST and EMAIL_PORT, or empty ALERT_EMAILS."),
}
