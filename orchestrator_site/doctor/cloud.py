"""The cloud: whether the token may do what we ask for, and whether what we ask for is to be had."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import NamedTuple
from uuid import uuid4

import httpx
from django.conf import settings

from orchestrator_site.doctor.checks import Finding, Seen, skipped, well
from orchestrator_site.doctor.codes import Code
from pools.cloud import bounded
from pools.cloud.api_transport import is_loopback
from pools.cloud.app_platform import DigitalOcean
from pools.cloud.app_spec import IMAGE, app_name, region_slug
from pools.cloud.budget import Share
from pools.cloud.connection import account
from pools.cloud.errors import CloudError, InvalidSpec, RateLimited
from pools.cloud.records import App, AppSpec
from pools.cloud.survey import Reply, Scope, Survey, Word
from pools.models import Fleet, Mode, Pool
from pools.ownership import Mark, Standing, our_mark, sorted_out
from pools.prices import USD_PER_MONTH
from pools.shared_budget import seen as budget_of

PATIENCE_SECONDS = 3.0
FEW_REQUESTS = 400  # of 5,000 an hour
REGISTRY = "https://ghcr.io"
MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in ("oci.image.index.v1", "oci.image.manifest.v1", "docker.distribution.manifest.list.v2",
                 "docker.distribution.manifest.v2")
)  # fmt: skip
LACKING = {
    Scope.READ: Code.SCOPE_READ_MISSING,
    Scope.CREATE: Code.SCOPE_CREATE_MISSING,
    Scope.DELETE: Code.SCOPE_DELETE_MISSING,
}


class Wanted(NamedTuple):
    """What sandboxes are asked for with: an image, a region and a size."""

    image: str
    region: str
    size: str


def _survey() -> Survey:
    return Survey(*account(), PATIENCE_SECONDS)


def token(_seen: Seen) -> Finding:
    """Whether the cloud knows it; the facts are by how much our clock is ahead of the cloud's."""
    endpoint = account()[1]
    try:
        reply = _survey().may(Scope.READ)
    except ValueError as error:
        return Finding(Code.CLOUD_ADDRESS_WRONG, str(error))
    except RateLimited as error:
        return Finding(Code.RATE_GONE, str(error))
    except CloudError as error:
        return Finding(Code.CLOUD_UNREACHABLE, str(error))
    if reply.word is Word.TOKEN_REFUSED:
        return Finding(Code.TOKEN_REFUSED, f"the cloud does not know it ({reply.text})")
    return well(f"{endpoint} knows it", reply.ahead_seconds)


def scope(wanted: Scope) -> Callable[[Seen], Finding]:
    """The check of one scope."""
    return partial(_scope, wanted)


def _scope(wanted: Scope, _seen: Seen) -> Finding:
    return _unless_trouble(lambda: allowed(wanted, _survey().may(wanted)))


def allowed(wanted: Scope, reply: Reply) -> Finding:
    if reply.word is Word.SCOPE_MISSING:
        return Finding(LACKING[wanted], f"the token may not do it ({reply.text})")
    if reply.word is Word.YES:
        return well("the token has it", reply.requests_left)
    return Finding(Code.CLOUD_UNREACHABLE, f"the cloud gave an answer that says nothing ({reply.text})")


def _unless_trouble(ask: Callable[[], Finding]) -> Finding:
    try:
        return ask()
    except RateLimited as error:
        return Finding(Code.RATE_GONE, str(error))
    except CloudError as error:
        return Finding(Code.CLOUD_UNREACHABLE, str(error))


def rate(seen: Seen) -> Finding:
    """What the hour has left: by the cloud's own count, and by ours of all processes."""
    told = seen.facts("scope_read")
    counted = budget_of(Fleet.get()).hour_left(Share.CREATING) if seen.is_well("migrations") else None
    left = [each for each in (told, counted) if each is not None]
    return requests_left(min(left)) if left else skipped("the cloud does not say how many requests are left")


def requests_left(left: int) -> Finding:
    found = f"{left:,} requests are left for this hour"
    if left <= 0:
        return Finding(Code.RATE_GONE, found)
    return Finding(Code.RATE_LOW, found) if left < FEW_REQUESTS else well(found)


def _wanted(seen: Seen) -> list[Wanted]:
    """What the settings and the pools ask for."""
    of_settings = [
        Wanted(image, settings.SANDBOX_REGION, settings.SANDBOX_SIZE) for image in settings.SANDBOX_IMAGES.values()
    ]
    pools = Pool.objects.exclude(mode=Mode.DRAINING) if seen.is_well("migrations") else []
    return list(dict.fromkeys([*of_settings, *(Wanted(pool.image, pool.region, pool.size) for pool in pools)]))


def region(seen: Seen) -> Finding:
    return _unless_trouble(lambda: open_regions({each.region for each in _wanted(seen)}, _survey().regions()))


def open_regions(wanted: set[str], offered: dict[str, bool]) -> Finding:
    """`offered`: each region, and whether it takes apps now."""
    for name in sorted(wanted):
        try:
            slug = region_slug(name)
        except InvalidSpec as error:
            return Finding(Code.REGION_GONE, str(error))
        if slug not in offered:
            return Finding(Code.REGION_GONE, f"there is no {name}; there are {', '.join(sorted(offered))}")
        if not offered[slug]:
            return Finding(Code.REGION_GONE, f"{name} takes no apps now")
    return well(", ".join(sorted(wanted)))


def size(seen: Seen) -> Finding:
    return _unless_trouble(lambda: priced({each.size for each in _wanted(seen)}, _survey().prices()))


def priced(wanted: set[str], offered: dict[str, Decimal]) -> Finding:
    """`offered`: each size's price in USD a month."""
    if gone := sorted(wanted - offered.keys()):
        return Finding(Code.SIZE_GONE, f"there is no {gone[0]}; there are {', '.join(sorted(offered))}")
    told = ", ".join(f"{name} at ${offered[name]:f} a month" for name in sorted(wanted))
    if other := [name for name in sorted(wanted) if USD_PER_MONTH.get(name) != offered[name]]:
        ours = USD_PER_MONTH.get(other[0])
        return Finding(Code.PRICE_DIFFERS, f"{told}; costs are counted with {f'${ours}' if ours else 'nothing'}")
    return well(told)


def image(seen: Seen) -> Finding:
    """Whether the cloud would accept an app of each image."""

    def proposed() -> Finding:
        survey = _survey()
        for each in _wanted(seen):
            try:
                reply = survey.propose(_spec(each))
            except InvalidSpec as error:
                return Finding(Code.IMAGE_REFUSED, str(error))
            if reply.word is not Word.YES:
                return Finding(Code.IMAGE_REFUSED, f"the cloud would not make an app of {each.image} ({reply.text})")
        return well(", ".join(dict.fromkeys(each.image for each in _wanted(seen))))

    return _unless_trouble(proposed)


def _spec(wanted: Wanted) -> AppSpec:
    return AppSpec(
        name=app_name(settings.SANDBOX_NAME_PREFIX, uuid4()),
        owner=settings.ORCHESTRATOR_ID,
        image=wanted.image,
        region=wanted.region,
        size=wanted.size,
        token=uuid4().hex,
    )


def registry(seen: Seen) -> Finding:
    """Whether the images can be pulled without credentials, as sandboxes do."""
    if settings.CLOUD_IS_EMBEDDED or is_loopback(settings.DIGITALOCEAN_API_URL):
        return well("none: the embedded cloud pulls no images")
    images = list(dict.fromkeys(each.image for each in _wanted(seen)))
    findings = [pulled(REGISTRY, name) for name in images]
    return next((finding for finding in findings if finding.code is not Code.OK), well(", ".join(images)))


def pulled(address: str, name: str) -> Finding:
    """Whether anybody may pull that image from the registry at `address`."""
    parts = IMAGE.fullmatch(name)
    if parts is None:
        return Finding(Code.IMAGE_REFUSED, f"{name} is not registry/repository:tag")
    repository = f"{parts['registry']}/{parts['repository']}"
    try:
        with httpx.Client(timeout=bounded.timeout(PATIENCE_SECONDS)) as client:
            may = client.get(f"{address}/token", params={"scope": f"repository:{repository}:pull"})
            if may.status_code in (401, 403, 404):
                return Finding(Code.IMAGE_PRIVATE, f"{name} is not there for everybody ({may.status_code})")
            headers = {"Authorization": f"Bearer {may.raise_for_status().json()['token']}", "Accept": MANIFESTS}
            answer = client.get(f"{address}/v2/{repository}/manifests/{parts['tag']}", headers=headers)
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return Finding(Code.REGISTRY_UNREACHABLE, f"{address} could not be asked ({type(error).__name__})")
    if answer.status_code in (401, 403):
        return Finding(Code.IMAGE_PRIVATE, f"{name} is not there for everybody ({answer.status_code})")
    if answer.status_code == 404:
        return Finding(Code.IMAGE_GONE, f"{address} has no {name}")
    return well(name)


def installations(_seen: Seen) -> Finding:
    """Whose apps the account has, by a listing of now."""

    def listed() -> Finding:
        return whose(DigitalOcean(*account(), timeout_seconds=PATIENCE_SECONDS).apps(), our_mark())

    return _unless_trouble(listed)


def whose(apps: list[App], mark: Mark) -> Finding:
    sorted_apps = sorted_out(apps, mark)
    if anothers := sorted_apps[Standing.ANOTHERS]:
        named = ", ".join(sorted(app.name for app in anothers)[:3])
        found = f"apps that carry our mark, {mark.owner}, and that another database made: {len(anothers)}, as {named}"
        return Finding(Code.ANOTHER_INSTALLATION, found)
    beside = sorted({app.owner for app in sorted_apps[Standing.FOREIGN] if app.owner})
    others = f"; beside us there are {', '.join(beside)}" if beside else ""
    return well(f"apps in the account: {len(apps)}, ours: {len(sorted_apps[Standing.OURS])}{others}")
