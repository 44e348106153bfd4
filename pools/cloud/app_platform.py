"""The way to App Platform: our records and errors come out, no JSON and no pydo type does."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from pools import clock
from pools.cloud import app_reader, listing
from pools.cloud.api_transport import TIMEOUT_SECONDS, Answer, Wire
from pools.cloud.app_spec import app_spec
from pools.cloud.budget import RequestBudget
from pools.cloud.errors import (
    CloudUnavailable,
    IncompleteListing,
    InvalidSpec,
    NameTaken,
    OverQuota,
    RateLimited,
    Unauthorized,
)
from pools.cloud.records import App, AppSpec, Proposal, is_disowned

CONFIRM_SECONDS = 2.0  # between the two refusals that make a verdict on the token
REQUESTS_LOOKED_AGAIN = 2  # apps that come and go shift the pages: a list as short as that is read again at once
SECONDS_A_REQUEST = 0.75  # of a list that failed, before it is asked for again; doubled each time it fails again
MOST_SECONDS_A_REQUEST = 4.0  # so that asking again takes no more than 900 of the 5,000 requests an hour
ANY_LIMIT = re.compile(r"limit|quota|maximum|too many", re.IGNORECASE)
ACCOUNT_LIMIT = re.compile(  # narrower: a 422 may also speak of the limits of one field
    r"quota|(limit|maximum|too many)\b.*\b(apps|account|team)\b|\b(app|account|team|resource) limit"
    r"|limit (was |has been |is )?(reached|exceeded)|reached .*\b(limit|maximum)",
    re.IGNORECASE,
)

Read = TypeVar("Read")


class AppPlatform(Protocol):
    """The cloud as the orchestrator uses it. Errors are CloudError's kinds, each a sentence for people."""

    @property
    def budget(self) -> RequestBudget:
        """The requests that may still be sent; its state travels between processes."""

    def apps(self) -> list[App]:
        """All apps of the account; raises IncompleteListing, CloudUnavailable, Unauthorized."""

    def get(self, app_id: str) -> App | None:
        """One app; None when the cloud says that there is none."""

    def create(self, spec: AppSpec) -> App:
        """Create an app, asking once; raises NameTaken, OverQuota, InvalidSpec, Unauthorized, RateLimited.

        After CloudUnavailable (RateLimited apart) it may exist all the same: look it up by name.
        """

    def delete(self, app_id: str) -> bool:
        """Delete an app; False when it was already gone."""

    def propose(self, spec: AppSpec) -> Proposal:
        """Have a spec validated and priced without creating anything; raises InvalidSpec."""


class DigitalOcean:
    """App Platform itself, or anything at `endpoint` that speaks its API. Thread-safe and fork-safe.

    What failed is asked again by the reconciler's next turn, and not here; only a refused token is confirmed by a
    second request. A list that failed is not asked for again until some time has passed: until then its error stands.
    `now` gives seconds since the epoch. Raises ValueError at once for an endpoint that is neither https nor loopback.
    """

    def __init__(
        self,
        token: str,
        endpoint: str | None = None,
        budget: RequestBudget | None = None,
        *,
        now: Callable[[], float] = clock.wall,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._now = now
        self._token_is_refused = False
        self._listing_failures = 0
        self._listing_failed_at = self._listing_pause_seconds = 0.0
        self._listing_error = ""
        self._wire = Wire(
            token,
            endpoint,
            budget,
            now=now,
            timeout_seconds=timeout_seconds,
        )

    def __repr__(self) -> str:
        return f"<DigitalOcean at {self._wire.endpoint}>"

    @property
    def budget(self) -> RequestBudget:
        return self._wire.budget

    def apps(self) -> list[App]:
        if 0 <= self._now() - self._listing_failed_at < self._listing_pause_seconds:
            raise IncompleteListing(self._listing_error)
        requests, looked_again = 0, False

        def page(number: int) -> Any:
            nonlocal requests
            requests += 1
            return self._page(number)

        while True:
            try:
                apps = listing.every_app(page, self._listed)
                break
            except listing.Broken as broken:
                if requests <= REQUESTS_LOOKED_AGAIN and not looked_again:
                    looked_again = True
                    continue
                raise self._listing_failed(f"The list of apps is not complete: {broken}.", requests) from None
            except IncompleteListing as error:
                raise self._listing_failed(str(error), requests) from error
        self._listing_failures, self._listing_pause_seconds = 0, 0.0
        return [app for app in apps if app is not None]

    def get(self, app_id: str) -> App | None:
        answer = self._ask("get", _path_segment(app_id))
        if answer.says_not_found:
            return None
        data = self._body(answer).get("app")
        if isinstance(data, dict) and data.get("id") and not app_reader.has_deployment(data):
            data = self._with_newest_deployment(data)
        return self._the_app(answer, data, app_id=app_id)

    def create(self, spec: AppSpec) -> App:
        answer = self._ask("create", {"spec": app_spec(spec)}, instead="validate_app_spec", secret=spec.token)
        if answer.status == 409:
            raise NameTaken(f"There is an app named {spec.name} already.")
        self._accept_spec(answer, spec)
        return self._the_app(answer, spec=spec)

    def delete(self, app_id: str) -> bool:
        answer = self._ask("delete", _path_segment(app_id))
        if answer.says_not_found:
            return False
        if not answer.is_success:
            raise self._wire.unusable(answer)
        return True

    def propose(self, spec: AppSpec) -> Proposal:
        answer = self._ask("validate_app_spec", {"spec": app_spec(spec)}, secret=spec.token)
        self._accept_spec(answer, spec)
        return self._read(app_reader.read_proposal, self._body(answer), answer)

    def _ask(self, operation: str, *args: object, instead: str = "", secret: str = "", **kwargs: object) -> Answer:
        """Send a request. A refused token is asked about once more, a moment later, and only then believed: by the same
        request, or by one `instead` that takes the same arguments and changes nothing. `secret` is kept out of errors.
        """
        answer = self._wire.send(operation, *args, **kwargs)
        if not _refuses_token(answer):
            self._token_is_refused = self._token_is_refused and not answer.is_success
            return answer
        said = f"{answer.status}: {answer.message.replace(secret, '(token)') if secret else answer.message}"
        if not self._token_is_refused:
            clock.sleep(CONFIRM_SECONDS)
            again = self._wire.send(instead or operation, *args, **kwargs)
            if not _refuses_token(again):
                if not instead:
                    return again
                raise self._wire.unusable(answer, f"The cloud refused the token, and took it a moment later ({said}).")
            self._token_is_refused = True
        verdict = "The cloud did not accept the token" if answer.status == 401 else "The token may not do this"
        raise Unauthorized(f"{verdict} ({said}).")

    def _listing_failed(self, reason: str, requests: int) -> IncompleteListing:
        """The error, kept for those who ask too soon: the more it cost, and the more often it failed, the longer."""
        pause = requests * min(SECONDS_A_REQUEST * 2**self._listing_failures, MOST_SECONDS_A_REQUEST)
        self._listing_failures = min(self._listing_failures + 1, 10)
        self._listing_error, self._listing_failed_at = reason, self._now()
        self._listing_pause_seconds = pause
        return IncompleteListing(reason)

    def _page(self, page: int) -> Any:
        """The body of one page of the list, None when it can't be read."""
        try:
            answer = self._ask("list", page=page, per_page=listing.PER_PAGE)
            if not answer.is_success:
                raise self._wire.unusable(answer)
        except RateLimited:
            raise
        except CloudUnavailable as error:
            if page == 1:
                raise
            message = f"The list of apps is not complete: page {page} failed. {error}"
            raise IncompleteListing(message) from error
        return answer.body

    def _with_newest_deployment(self, data: dict[str, Any]) -> dict[str, Any]:
        """After a failed first deployment the app may mention none: the ERROR is in the deployment itself."""
        answer = self._ask("list_deployments", data["id"], page=1, per_page=1)
        deployments = answer.body.get("deployments") if answer.is_success and isinstance(answer.body, dict) else None
        return (
            app_reader.with_deployment(data, deployments[0]) if isinstance(deployments, list) and deployments else data
        )

    def _accept_spec(self, answer: Answer, spec: AppSpec) -> None:
        if answer.status not in (400, 403, 422):
            return
        said = f"{answer.status}: {answer.message.replace(spec.token, '(token)')}"
        limit = ANY_LIMIT if answer.status == 403 else ACCOUNT_LIMIT
        if limit.search(answer.message):
            raise OverQuota(f"The account can't hold one more app ({said}).")
        if answer.status != 403:
            raise InvalidSpec(f"The cloud refused the spec of {spec.name} ({said}).", answer.message)

    def _body(self, answer: Answer) -> dict[str, Any]:
        """The JSON object of a successful answer."""
        if not answer.is_success:
            raise self._wire.unusable(answer)
        if not isinstance(answer.body, dict):
            raise self._wire.unusable(answer, f"The cloud answered {answer.status} with nothing that can be read.")
        return answer.body

    def _read(self, reader: Callable[[Any], Read], data: Any, answer: Answer) -> Read:
        try:
            return reader(data)
        except app_reader.Unreadable as error:
            raise self._wire.unusable(answer, f"The cloud answered {answer.status} with {error}.") from error

    def _the_app(self, answer: Answer, data: Any = None, *, app_id: str = "", spec: AppSpec | None = None) -> App:
        """The app of an answer, if it is the one that was asked about: another one's id would be deleted one day. One
        that was asked for must have the name and the mark that it was asked for with."""
        app = self._read(self._app, self._body(answer).get("app") if data is None else data, answer)
        is_another = app.id != app_id if spec is None else app.name != spec.name or is_disowned(app, spec)
        if is_another:
            raise self._wire.unusable(
                answer, f"The cloud answered {answer.status} about another app, {app.name or 'without a name'}."
            )
        return app

    def _listed(self, data: Any) -> App | None:
        """An app of the list; None for one whose id can't be kept, which is none of ours and costs nobody the list."""
        try:
            return self._app(data)
        except app_reader.Unreadable:
            return None

    def _app(self, data: Any) -> App:
        return app_reader.read_app(data, datetime.fromtimestamp(self._now(), UTC))


def _refuses_token(answer: Answer) -> bool:
    """A 403 may also say that the account is full."""
    return answer.status == 401 or (answer.status == 403 and not ANY_LIMIT.search(answer.message))


def _path_segment(app_id: str) -> str:
    """`app_id`, unless it would lead to another path: an empty one asks for the list, dots climb."""
    if not app_id.strip("."):
        raise ValueError(f"{app_id!r} is not an app's id.")
    return app_id
