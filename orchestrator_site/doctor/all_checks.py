"""Every check, in the order in which they are told."""

from __future__ import annotations

from orchestrator_site.doctor import cloud, configuration, database, machine, reach, storage, wakes, workers
from orchestrator_site.doctor.checks import Check
from pools.cloud.survey import Scope

CHECKS = (
    Check("limits", configuration.limits, after=("migrations",)),
    Check("https", configuration.https),
    Check("hosts", configuration.hosts),
    Check("secret_key", configuration.secret_key),
    Check("key_of_database", configuration.key_of_database, needs=("migrations",)),
    Check("disk", machine.disk),
    Check("inodes", machine.inodes),
    Check("var", machine.var, needs=("disk", "inodes")),
    Check("clock", machine.machine_clock, after=("token", "migrations")),
    Check("database", database.database),
    Check("migrations", database.migrations, needs=("database",)),
    Check("writable", database.writable, needs=("database", "migrations")),
    Check("isolation", database.isolation, needs=("database",)),
    Check("pooler", database.pooler, needs=("database",)),
    Check("redis", wakes.redis),
    Check("token", cloud.token),
    Check("scope_read", cloud.scope(Scope.READ), needs=("token",)),
    Check("scope_create", cloud.scope(Scope.CREATE), needs=("token",)),
    Check("scope_delete", cloud.scope(Scope.DELETE), needs=("token",)),
    Check("rate", cloud.rate, needs=("token", "scope_read"), after=("migrations",)),
    Check("region", cloud.region, needs=("token", "scope_read"), after=("migrations",)),
    Check("size", cloud.size, needs=("token", "scope_read"), after=("migrations",)),
    Check("image", cloud.image, needs=("token", "scope_read", "region", "size"), after=("migrations",)),
    Check("registry", cloud.registry, after=("migrations",)),
    Check("installations", cloud.installations, needs=("token", "scope_read", "migrations")),
    Check("workers", workers.workers, needs=("migrations",)),
    Check("turns", workers.turns, needs=("migrations", "workers")),
    Check("snapshots", storage.snapshots, needs=("disk", "inodes")),
    Check("catalog", storage.catalog),
    Check("public_address", reach.public_address),
    Check("play_address", reach.play_address, needs=("public_address",)),
    Check("from_sandbox", reach.from_sandbox, needs=("migrations", "public_address")),
    Check("metrics", reach.metrics),
    Check("webhooks", reach.webhooks, needs=("migrations",)),
    Check("mail", reach.mail),
)
