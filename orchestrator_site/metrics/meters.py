"""What the site counts in each process: the database, and requests that wait for a thread of ours."""

from __future__ import annotations

from pools.meters import QUICK_SECONDS, Counter, Histogram

SELECT, INSERT, UPDATE, DELETE, BEGIN, OTHER = VERBS = ("select", "insert", "update", "delete", "begin", "other")

STATEMENT_SECONDS = Histogram(
    "database_statement_seconds",
    "How long statements took, waits for locks with them. On SQLite, begin is the wait for other writers.",
    QUICK_SECONDS,
    verb=VERBS,
)
LOCK_TIMEOUTS = Counter(
    "database_lock_timeouts_total", "Statements that gave up, because others held what they needed."
)
CONNECT_SECONDS = Histogram(
    "database_connect_seconds", "How long connecting to PostgreSQL took; SQLite has nothing to wait for.", QUICK_SECONDS
)
THREAD_WAIT_SECONDS = Histogram(
    "request_wait_seconds",
    "How long requests waited for a thread, and with it for its database connection.",
    QUICK_SECONDS,
)
