"""All configuration, from the environment. Every variable is documented in docs/configuration.md."""

from __future__ import annotations

from datetime import timedelta
from logging import LogRecord
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from orchestrator_site import __version__, addresses, logs, places
from orchestrator_site import environment as env
from orchestrator_site.cookies import cookie_name
from orchestrator_site.kept_key import kept_key
from orchestrator_site.private_folder import keep_private

LOG_FORMAT = env.choice("LOG_FORMAT", logs.LINE, (logs.LINE, logs.JSON))
logs.begin(LOG_FORMAT)  # first: what is wrong with the other settings is a line of the log, too

VAR_DIR = Path(env.text("ORCHESTRATOR_VAR", str(places.default_var()))).resolve()
keep_private("ORCHESTRATOR_VAR", VAR_DIR)


def _secret_key() -> tuple[str, list[str]]:
    """SECRET_KEY, or one that is made once and kept, so that sessions and sandbox tokens outlive a restart; and the
    others that count, from SECRET_KEY_FALLBACKS and a file of that name, the newest first."""
    former = [key.strip() for some in env.words("SECRET_KEY_FALLBACKS", []) for key in some.splitlines()]
    if (fallbacks := VAR_DIR / "secret_key_fallbacks").exists():
        former += fallbacks.read_text().split()
    given = env.text("SECRET_KEY")
    if given:
        return given, former
    path = VAR_DIR / "secret_key"
    kept = kept_key(path)
    # An editor leaves a line break at the end. Versions before took it for a part of the key.
    as_written = path.read_text()
    return kept, [*former, *([as_written] if as_written != kept else [])]


# The cloud. Without a token the embedded local cloud is used, and nothing leaves this machine.
DIGITALOCEAN_TOKEN = env.text("DIGITALOCEAN_TOKEN")
DIGITALOCEAN_API_URL = env.url("DIGITALOCEAN_API_URL", "https://api.digitalocean.com")
CLOUD_IS_EMBEDDED = not DIGITALOCEAN_TOKEN
CLOUD_REQUESTS_PER_MINUTE = env.number("CLOUD_REQUESTS_PER_MINUTE", 250, least=10, most=5000)
LOCALCLOUD_DIR = VAR_DIR / "localcloud"
LOCALCLOUD_PORT = env.number("LOCALCLOUD_PORT", 0, most=65535)
LOCALCLOUD_DEPLOY_SECONDS = env.decimal("LOCALCLOUD_DEPLOY_SECONDS", 2.0, least=0, most=3600)

# The fleet.
ORCHESTRATOR_ID = env.text(
    "ORCHESTRATOR_ID",
    "local" if CLOUD_IS_EMBEDDED else "",
    pattern=r"[A-Za-z0-9._-]{1,64}",
    allowed="1 to 64 letters, digits, dots, dashes",
)
if not ORCHESTRATOR_ID:
    raise ImproperlyConfigured(
        "ORCHESTRATOR_ID is empty; with DIGITALOCEAN_TOKEN set it must name this orchestrator (for example "
        "staging), so that two orchestrators in one account never touch each other's sandboxes."
    )
SANDBOX_NAME_PREFIX = env.text(
    "SANDBOX_NAME_PREFIX",
    "sandbox-",
    pattern=r"[a-z][a-z0-9-]{0,22}-",
    allowed="lower-case letters, digits and dashes, 24 at most, with a dash at the end",
)
SANDBOX_REGION = env.text("SANDBOX_REGION", "syd")
SANDBOX_SIZE = env.text("SANDBOX_SIZE", "apps-s-1vcpu-1gb")
SANDBOX_IMAGES = {
    "python": env.text("SANDBOX_IMAGE_PYTHON", "bikramkgupta/sandbox-python-service:latest"),
    "node": env.text("SANDBOX_IMAGE_NODE", "bikramkgupta/sandbox-node-service:latest"),
}
MAX_TOTAL_SANDBOXES = env.number("MAX_TOTAL_SANDBOXES", 3, least=1, most=100_000)
ORPHAN_GRACE_SECONDS = env.number("ORPHAN_GRACE_SECONDS", 120)
BLAST_RADIUS_SHARE = env.decimal("BLAST_RADIUS_SHARE", 0.5, least=0.01, most=1)
BLAST_RADIUS_FLOOR = env.number("BLAST_RADIUS_FLOOR", 3, least=1)
MONTHLY_BUDGET_USD = env.decimal("MONTHLY_BUDGET_USD", 0, least=0, most=1_000_000)  # 0: no limit

# The first pool. Once the row exists, what an operator sets in the admin wins.
WARM_POOL_ENABLED = env.switch("WARM_POOL_ENABLED", True)
WARM_POOL_TARGET_READY = env.number("WARM_POOL_TARGET_READY", 1, most=1000)
WARM_POOL_MAX_READY = env.number("WARM_POOL_MAX_READY", 2, least=1, most=1000)
WARM_POOL_IDLE_TIMEOUT = env.number("WARM_POOL_IDLE_TIMEOUT", 600, least=10)
WARM_POOL_MAX_CONCURRENT_CREATES = env.number("WARM_POOL_MAX_CONCURRENT_CREATES", 1, least=1, most=100)
if WARM_POOL_TARGET_READY > WARM_POOL_MAX_READY:
    raise ImproperlyConfigured(
        f"WARM_POOL_TARGET_READY is {WARM_POOL_TARGET_READY}; it must be at most WARM_POOL_MAX_READY "
        f"({WARM_POOL_MAX_READY})."
    )

# Launches.
MAX_CONCURRENT_COLD = env.number("MAX_CONCURRENT_COLD", 3)
MAX_CONCURRENT_WARM = env.number("MAX_CONCURRENT_WARM", 3)
MAX_TOTAL_ACTIVE = env.number("MAX_TOTAL_ACTIVE", 10)
MAX_RUNS_PER_HOUR = env.number("MAX_RUNS_PER_HOUR", 25)
# One client may not have all of it, and neither may one network, however many clients it seems to be.
_PLACES = min(
    each for each in (MAX_TOTAL_ACTIVE, MAX_CONCURRENT_WARM, MAX_CONCURRENT_COLD, MAX_TOTAL_SANDBOXES) if each
)
MAX_ACTIVE_PER_CLIENT = env.number("MAX_ACTIVE_PER_CLIENT", max(1, _PLACES * 2 // 3))
MAX_RUNS_PER_HOUR_PER_CLIENT = env.number("MAX_RUNS_PER_HOUR_PER_CLIENT", max(1, MAX_RUNS_PER_HOUR // 2))
MAX_ACTIVE_PER_NETWORK = env.number("MAX_ACTIVE_PER_NETWORK", _PLACES - _PLACES // 10)
MAX_RUNS_PER_HOUR_PER_NETWORK = env.number("MAX_RUNS_PER_HOUR_PER_NETWORK", MAX_RUNS_PER_HOUR - MAX_RUNS_PER_HOUR // 10)
ANONYMOUS_LAUNCHES = env.switch("ANONYMOUS_LAUNCHES", True)  # by who has no key and is not signed in
SANDBOX_MIN_LIFETIME_MINUTES = env.number("SANDBOX_MIN_LIFETIME_MINUTES", 5, least=1, most=1440)
SANDBOX_MAX_LIFETIME_MINUTES = env.number("SANDBOX_MAX_LIFETIME_MINUTES", 10, least=1, most=1440)
if SANDBOX_MIN_LIFETIME_MINUTES > SANDBOX_MAX_LIFETIME_MINUTES:
    raise ImproperlyConfigured(
        f"SANDBOX_MIN_LIFETIME_MINUTES is {SANDBOX_MIN_LIFETIME_MINUTES}; it must be at most "
        f"SANDBOX_MAX_LIFETIME_MINUTES ({SANDBOX_MAX_LIFETIME_MINUTES})."
    )
MAX_EXTENSIONS = env.number("MAX_EXTENSIONS", 2, most=100)
env.refuse(
    "CLEANUP_INTERVAL_SECONDS",
    "A run ends when its time is up, without a wait for a clean-up. Remove the variable; SANDBOX_MIN_LIFETIME_MINUTES "
    "and SANDBOX_MAX_LIFETIME_MINUTES say how long a run lasts.",
)
# Whose pages may use the API from other sites: without cookies. A launch's token works for them as for programs.
CORS_ALLOWED_ORIGINS = env.origins("CORS_ALLOWED_ORIGINS")
ANYONE_MAY_END_RUNS = env.switch("ANYONE_MAY_END_RUNS", False)  # over the API, who knows its id

# Games and their snapshots. A folder by default, DigitalOcean Spaces when its four variables are set.
CATALOG_DIR = Path(env.text("CATALOG_DIR", str(places.IMPORT_ROOT / "games" / "catalog")))
AVAILABLE_GAMES = env.words("AVAILABLE_GAMES", [])  # none: all of the catalog
GAME_REPOSITORIES_DIR = VAR_DIR / "repositories"
SNAPSHOTS_DIR = VAR_DIR / "snapshots"
SPACES = {
    "bucket": env.text("SPACES_BUCKET"),
    "region": env.text("SPACES_REGION"),
    "access_key": env.text("SPACES_ACCESS_KEY"),
    "secret_key": env.text("SPACES_SECRET_KEY"),
}
SPACES_ENDPOINT_URL = env.url(
    "SPACES_ENDPOINT_URL", f"https://{SPACES['region']}.digitaloceanspaces.com" if SPACES["region"] else ""
)
if any(SPACES.values()) and not all(SPACES.values()):
    _missing = ", ".join(f"SPACES_{key.upper()}" for key, value in SPACES.items() if not value)
    raise ImproperlyConfigured(
        f"{_missing} is empty; Spaces needs SPACES_BUCKET, _REGION, _ACCESS_KEY and _SECRET_KEY together."
    )
SNAPSHOT_URL_SECONDS = env.number("SNAPSHOT_URL_SECONDS", 600, least=10)

env.refuse(
    "REBUILD_SNAPSHOTS",
    "A snapshot is built again when its game changes. To build all of them again, remove the variable and run "
    "manage.py snapshots build.",
    unless=env.OFF,
)

# What is kept. The statistics look back a week, the budget a month.
ALERT_EMAILS = env.words("ALERT_EMAILS", [])
EMAIL_HOST = env.text("EMAIL_HOST", "localhost", pattern=r"\S+", allowed="a host name")
EMAIL_PORT = env.number("EMAIL_PORT", 25, least=1, most=65535)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env.text("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = env.switch("EMAIL_USE_TLS", False)
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = env.text("ALERTS_FROM", "orchestrator@localhost", pattern=r"\S+@\S+", allowed="an e-mail address")
WEBHOOKS_MAY_GO_INSIDE = env.switch("WEBHOOKS_MAY_GO_INSIDE", False)
EVENTS_KEPT_DAYS = env.number("EVENTS_KEPT_DAYS", 30, least=1, most=3650)
RUNS_KEPT_DAYS = env.number("RUNS_KEPT_DAYS", 90, least=8, most=3650)
SANDBOXES_KEPT_DAYS = env.number("SANDBOXES_KEPT_DAYS", 90, least=32, most=3650)

# The site.
PORT = env.number("PORT", 8000, least=1, most=65535)
BIND = env.text("BIND", "127.0.0.1", pattern=r"[0-9.]+|[0-9A-Fa-f:]+", allowed="an IP address")
# Where browsers find the site, and where they find the games: on an origin of their own, if that can be had.
PUBLIC_URL = env.origin("PUBLIC_URL", addresses.default_public_url(BIND, PORT))
PLAY_URL = env.origin("PLAY_URL", addresses.other_loopback(PUBLIC_URL) or PUBLIC_URL, wildcard=True)
PLAY_PORT = env.number("PLAY_PORT", 0, most=65535)  # another one to listen on; 0: none
# How many proxies stand in front, each of which adds to X-Forwarded-For and sets X-Forwarded-Proto.
TRUSTED_PROXIES = env.number("TRUSTED_PROXIES", int(env.switch("TRUST_FORWARDED_HEADERS", False)), most=10)
if _contradiction := addresses.contradiction(PUBLIC_URL, PLAY_URL, bind=BIND, port=PORT, proxies=TRUSTED_PROXIES):
    raise ImproperlyConfigured(_contradiction)
# Where the command `metrics` tells how it goes: on a port of its own, never the site's. 0: nothing is counted.
METRICS_PORT = env.number("METRICS_PORT", 0, most=65535)
METRICS_BIND = env.text("METRICS_BIND", "127.0.0.1", pattern=r"[0-9.]+|[0-9A-Fa-f:]+", allowed="an IP address")
METRICS_DIR = VAR_DIR / "metrics"
if METRICS_PORT and METRICS_PORT in (PORT, PLAY_PORT):
    raise ImproperlyConfigured(
        f"METRICS_PORT is {METRICS_PORT}, which is the site's; choose one that only you can reach."
    )
SECRET_KEY, SECRET_KEY_FALLBACKS = _secret_key()
# What is counted by address is counted under this one: while a key is changed, it is the same for every process.
OLDEST_SECRET_KEY = [SECRET_KEY, *(key for key in SECRET_KEY_FALLBACKS if key == key.strip())][-1]
DEBUG = env.switch("DEBUG", False)
_hosts = env.words("ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]"])
ALLOWED_HOSTS = list(dict.fromkeys([*_hosts, *map(addresses.host_pattern, (PUBLIC_URL, PLAY_URL))]))
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS", [PUBLIC_URL])
HTTPS_ONLY = PUBLIC_URL.startswith("https://")
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", ["DEBUG", "INFO", "WARNING", "ERROR"])
REDIS_URL = env.url("REDIS_URL", schemes=("redis", "rediss", "unix"))
# Where traces are sent, and with which headers, as OpenTelemetry names it. It reads others of its variables by itself.
_collector = env.url("OTEL_EXPORTER_OTLP_ENDPOINT")
TRACES_URL = env.url("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{_collector}/v1/traces" if _collector else "")
TRACES_HEADERS = env.text("OTEL_EXPORTER_OTLP_TRACES_HEADERS") or env.text("OTEL_EXPORTER_OTLP_HEADERS")
TRACES_ARE_ON = not env.switch("OTEL_SDK_DISABLED", False) and bool(TRACES_URL)
VERSION = __version__

# Signing in.
OPERATOR_SESSION_HOURS = env.number("OPERATOR_SESSION_HOURS", 12, least=1, most=24 * 30)
REQUIRE_SECOND_FACTOR = env.switch("REQUIRE_SECOND_FACTOR", False)
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
AUTHENTICATION_BACKENDS = ["orchestrator_site.sign_in.throttle.Gate", "django.contrib.auth.backends.ModelBackend"]
AXES_HANDLER = "orchestrator_site.sign_in.throttle.Throttle"
AXES_CLIENT_IP_CALLABLE = "orchestrator_site.sign_in.addresses.network_of"
AXES_LOCKOUT_CALLABLE = "orchestrator_site.sign_in.view.locked_answer"
AXES_LOCKOUT_PARAMETERS = [
    ["username", "ip_address"]
]  # what a sign-in that succeeds forgets; the limits are Throttle's
AXES_COOLOFF_TIME = timedelta(minutes=10)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # a lock ends, whoever goes on knocking
AXES_RESET_ON_SUCCESS = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
OTP_TOTP_ISSUER = f"Sandbox orchestrator at {urlsplit(PUBLIC_URL).hostname}"

INSTALLED_APPS = [
    "orchestrator_site.apps.OperatorsConfig",  # django.contrib.admin, with a site of our own
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "channels",
    "ninja",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "orchestrator_site",
    "django_q",  # after ours, whose command starts the cluster
    "pools",
    "games",
    "runs",
]
MIDDLEWARE = [
    "orchestrator_site.health.HealthMiddleware",
    "orchestrator_site.games_host.GamesHostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "orchestrator_site.security_headers.SecurityHeadersMiddleware",
    "orchestrator_site.methods.MethodsMiddleware",
    "orchestrator_site.api.ProblemMiddleware",
    "orchestrator_site.unavailable.UnavailableMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "runs.visitors.VisitorMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "orchestrator_site.sign_in.second_factor.SecondFactorMiddleware",
    "orchestrator_site.api_gate.ApiGateMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "orchestrator_site.urls"
ASGI_APPLICATION = "orchestrator_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [places.TEMPLATES],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# IMMEDIATE, because Django's deferred transactions fail at once with "database is locked" when two processes write.
SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": VAR_DIR / "orchestrator.sqlite3",
    "OPTIONS": {
        "transaction_mode": "IMMEDIATE",
        "timeout": 10,  # seconds that a statement waits for another process's transaction
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    },
}
DATABASES = {"default": env.database("DATABASE_URL", SQLITE)}
DATABASE_IS_SQLITE = DATABASES["default"]["ENGINE"] == SQLITE["ENGINE"]
DATABASES["default"]["CONN_MAX_AGE"] = None  # each thread that looks at the database keeps its connection
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# How long a web process that is to stop goes on as before, so that a load balancer finds out: with SQLite there is no
# other process to go to.
DRAIN_SECONDS = env.decimal("DRAIN_SECONDS", 0 if DATABASE_IS_SQLITE else 10, least=0, most=30)

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

CLUSTER_WORKERS = env.number("CLUSTER_WORKERS", 4, least=2, most=64)
Q_CLUSTER = {
    "name": "orchestrator",
    "orm": "default",
    "broker_class": "orchestrator_site.cluster.broker.WakingBroker",
    "workers": CLUSTER_WORKERS,
    "queue_limit": CLUSTER_WORKERS,
    "poll": 0,
    "timeout": 330,
    "retry": 600,
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": -1,
    "catch_up": False,
    "label": "Tasks",
    "log_level": LOG_LEVEL,
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = "orchestrator_site.formats"

STATIC_URL = "static/"
STATIC_ROOT = Path(env.text("STATIC_ROOT", str(VAR_DIR / "static")))
WHITENOISE_USE_FINDERS = True
SNAPSHOT_STORAGE: dict[str, object] = (
    {"BACKEND": "games.spaces.SpacesStorage"}
    if SPACES["bucket"]
    else {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": SNAPSHOTS_DIR}}
)
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": VAR_DIR / "files"},
    },
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "snapshots": SNAPSHOT_STORAGE,
}

# Over https, for who once was here and who comes by http.
SECURE_SSL_REDIRECT = HTTPS_ONLY
SECURE_SSL_HOST = PUBLIC_URL.partition("://")[2]
_hsts_seconds = env.number("HSTS_SECONDS", 30 * 24 * 3600, most=10 * 365 * 24 * 3600)
SECURE_HSTS_SECONDS = _hsts_seconds if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.switch("HSTS_SUBDOMAINS", False)
# Subdomains and browsers' preloaded lists are for whoever owns the domain to decide; there is no way back soon.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_ENGINE = "orchestrator_site.sessions"
SESSION_COOKIE_NAME = cookie_name("session", PUBLIC_URL)
CSRF_COOKIE_NAME = cookie_name("csrf", PUBLIC_URL)
VISITOR_COOKIE_NAME = cookie_name("visitor", PUBLIC_URL)
MESSAGES_COOKIE_NAME = cookie_name("messages", PUBLIC_URL)
MESSAGE_STORAGE = "orchestrator_site.messages.OwnStorage"
SESSION_COOKIE_AGE = OPERATOR_SESSION_HOURS * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS_ONLY
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "orchestrator_site.error_pages.form_expired"
API_VERSION = "1"
NINJA_NUM_PROXIES = 0  # addresses are the client's already: orchestrator_site.forwarded
NINJA_PAGINATION_MAX_LIMIT = 500


def _is_news(record: LogRecord) -> bool:
    """A probe's 503 is an answer, and no error to be logged for each probe. A 403 is told by its page (error_pages);
    a sign-in that a lock refuses, by the lock's one line."""
    request, status = getattr(record, "request", None), getattr(record, "status_code", 0)
    is_told = (status == 403 and record.exc_info is not None) or (status == 429 and hasattr(request, "sign_in_lock"))
    return not is_told and (request is None or not request.path.startswith("/health/"))


def _in_one_line(record: LogRecord) -> bool:
    """What Django refuses as suspicious is a client's doing: where in Django it was noticed says nothing."""
    if record.name.startswith("django.security."):
        record.exc_info = record.exc_text = None
    return True


LOGGING = logs.settings_of(LOG_FORMAT, LOG_LEVEL, _is_news, _in_one_line)
