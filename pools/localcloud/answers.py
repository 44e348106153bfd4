"""Parts of the API's answers: pages, sizes, and apps as faults want them shown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pools.localcloud.apps import timestamp
from pools.localcloud.specs import SIZES, encrypted

KINDS_OF_PARTS = {"services", "workers"}
SECONDS_A_MONTH = 672 * 3600


def skewed(data: Any, seconds: float) -> Any:
    """The same, every date in it that much later."""
    if isinstance(data, list):
        return [skewed(entry, seconds) for entry in data]
    if not isinstance(data, dict):
        return data
    return {
        key: timestamp(datetime.fromisoformat(value).timestamp() + seconds)
        if key.endswith("_at") and isinstance(value, str)
        else skewed(value, seconds)
        for key, value in data.items()
    }


def disguised(data: dict[str, Any], effects: Mapping[str, Any]) -> dict[str, Any]:
    """An app's JSON with its mark hidden, or under another name, where a fault wants that."""
    spec = data["spec"]
    if "marks" in effects:
        hide = (lambda variables: []) if effects["marks"] == "absent" else encrypted
        for kind in KINDS_OF_PARTS & spec.keys():
            spec = spec | {kind: [part | {"envs": hide(part.get("envs", []))} for part in spec[kind]]}
        spec = spec | {"envs": hide(spec.get("envs", []))}
    if "shown_name" in effects:
        spec = spec | {"name": effects["shown_name"]}
    return data | {"spec": spec}


def links(address: str, page: int, per_page: int, total: int) -> dict[str, str]:
    """The addresses of the other pages, as far as there are any."""
    last = max(1, -(-total // per_page))
    found: dict[str, int] = {}
    if page > 1:
        found |= {"first": 1, "prev": min(page - 1, last)}
    if page < last:
        found |= {"next": page + 1, "last": last}
    return {name: f"{address}?page={number}&per_page={per_page}" for name, number in found.items()}


def size_json(slug: str) -> dict[str, Any]:
    price, cpus, mebibytes = SIZES[slug]
    return {
        "slug": slug,
        "name": slug,
        "cpus": cpus,
        "cpu_type": "SHARED",
        "memory_bytes": str(mebibytes * 1024 * 1024),
        "usd_per_month": price,
        "usd_per_second": f"{float(price) / SECONDS_A_MONTH:.12f}",
        "tier_slug": "basic",
    }
