"""The faults of the simulated account and its sandboxes, each with a name; here alone is asked whether one strikes."""

from __future__ import annotations

from dataclasses import dataclass

from tests.sim.world import World


@dataclass(frozen=True, slots=True)
class Fault:
    """`chance`: how often it strikes where it is asked about, in a run that has it."""

    name: str
    chance: float
    what: str


def _table(*rows: tuple[str, float, str]) -> dict[str, Fault]:
    return {name: Fault(name, chance, what) for name, chance, what in rows}


# Each group is asked in its order, once for each request, app, game or minute; the first that strikes does.
REQUEST = _table(
    ("cloud-lost-before", 0.006, "The request never comes to the cloud."),
    ("cloud-lost-after", 0.006, "The request has its effect, and its answer is lost."),
    ("cloud-unreachable", 0.003, "The cloud's address refuses."),
    ("cloud-slow", 0.008, "The answer takes nearly as long as it may."),
    ("cloud-timeout", 0.004, "The answer does not come in time; there was no effect."),
    ("cloud-429", 0.003, "The cloud asks us to slow down, and says for how long."),
    ("cloud-429-bare", 0.002, "The cloud asks us to slow down, and does not say for how long."),
    ("cloud-5xx", 0.006, "The API answers 500, 502, 503 or 504, without an effect."),
    ("cloud-5xx-after", 0.003, "The API answers 500 to what it has done."),
    ("cloud-html", 0.003, "Something in front of the cloud answers with a page, as a failure."),
    ("cloud-html-ok", 0.003, "Something in front of the cloud answers 200 with a page."),
    ("cloud-html-404", 0.002, "Something in front of the cloud answers 404 with a page."),
    ("cloud-empty", 0.002, "The answer is a success without a body."),
    ("cloud-odd", 0.002, "The answer is JSON of another shape."),
    ("cloud-redirect", 0.001, "The answer is a redirect."),
    ("cloud-refused-once", 0.002, "The token is refused, and taken a moment later."),
)
LATE_EFFECT = _table(
    ("cloud-effect-late", 0.004, "A create or a delete takes effect long after its caller has given up waiting."),
)
LISTING = _table(
    ("list-stale", 0.02, "The list is as it was a while ago."),
    ("list-empty", 0.004, "The list is empty, and says that it is complete."),
    ("list-torn", 0.01, "An app is missing, and the total speaks of it."),
    ("list-short", 0.01, "An app is missing, and the total agrees."),
    ("list-total-wrong", 0.005, "The total is wrong."),
    ("list-page-missing", 0.005, "A page has no apps, though more follow."),
    ("list-twice", 0.01, "An app is shown twice, and counted once."),
    ("list-counted-twice", 0.005, "An app is shown twice, and counted twice."),
    ("list-marks-hidden", 0.003, "The apps' variables are shown encrypted."),
)
CREATE = _table(
    ("create-400", 0.004, "The spec is refused, though it was taken before."),
    ("create-full", 0.004, "The account is said to be full."),
    ("deploy-fails", 0.03, "The deployment ends in ERROR."),
    ("deploy-canceled", 0.005, "The deployment is canceled."),
    ("deploy-sticks", 0.01, "The deployment stays in one phase for ever."),
    ("deploy-slow", 0.02, "The deployment takes many minutes."),
    ("url-late", 0.03, "The app is active long before its address is shown."),
    ("agent-late", 0.03, "The app is active long before its agent can be reached."),
    ("agent-stillborn", 0.005, "The app is active, and its agent never comes up."),
    ("agent-no-token", 0.003, "The agent comes up without its token."),
    ("listed-late", 0.03, "The app is missing from the list for minutes after it was made."),
)
DELETE = _table(
    ("gone-lingers", 0.05, "The app is still shown for minutes after it was deleted."),
    ("name-freed-late", 0.1, "The name is free only long after its app was deleted."),
)
AGENT = _table(
    ("agent-unreachable", 0.002, "No connection comes about."),
    ("agent-silent", 0.001, "The connection is taken, and never answered."),
    ("agent-breaks", 0.002, "The request has its effect, and the connection breaks before its answer."),
    ("agent-trickles", 0.001, "The answer comes byte by byte, until the time is up."),
    ("agent-html", 0.002, "The edge answers in its place, with a page and 502."),
    ("agent-503", 0.001, "The edge answers 503 in words."),
    ("agent-not-there", 0.001, "The edge answers 404 with a page: it does not know the app."),
    ("agent-odd", 0.001, "The answer is JSON of another shape."),
    ("agent-refuses-once", 0.0005, "The agent refuses the token, once."),
)
GAME = _table(
    ("restore-fails", 0.01, "The snapshot can't be downloaded."),
    ("restore-slow", 0.01, "The snapshot takes longer to unpack than it may."),
    ("game-ends-at-once", 0.005, "The game ends as soon as it is started."),
    ("game-slow", 0.01, "The game takes long until it answers."),
    ("game-never-answers", 0.003, "The game runs, and never answers."),
    ("game-unwell", 0.003, "The game answers 500 for as long as it runs."),
)
PLAYED = _table(
    ("game-hangs", 0.002, "The game does not answer this one request."),
)
MINUTE = _table(
    ("storm", 0.002, "For a while 30 to 80 % of the creates fail."),
    ("token-refused", 0.001, "For a while the token is refused."),
    ("account-full", 0.001, "For a while the account can't hold one more app."),
    ("app-vanishes", 0.004, "An app is gone, by nobody's request."),
    ("stranger-appears", 0.004, "Somebody else makes an app without our mark."),
    ("stranger-leaves", 0.004, "Somebody else deletes an app of theirs."),
    ("twin-appears", 0.002, "A second orchestrator with our id makes an app."),
    ("copy-appears", 0.001, "A copy of our database makes an app."),
    ("orphan-appears", 0.002, "An app appears with our id and without an installation's, as older versions made them."),
    ("agent-dies", 0.004, "A container dies and stays dead."),
    ("agent-restarts", 0.008, "A container is restarted: what was in it is gone."),
    ("agent-hangs", 0.003, "An agent answers nobody for some minutes."),
    ("game-dies", 0.02, "A game ends, played or not."),
)
GROUPS = (REQUEST, LATE_EFFECT, LISTING, CREATE, DELETE, AGENT, GAME, PLAYED, MINUTE)
FAULTS: dict[str, Fault] = {name: fault for group in GROUPS for name, fault in group.items()}


class Faults:
    """Asks the world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def first(self, group: dict[str, Fault]) -> str:
        """The first fault of the group that strikes here; empty when none does."""
        strikes = self._world.strikes
        for name in group:
            if strikes(name):
                return name
        return ""

    def each(self, group: dict[str, Fault]) -> list[str]:
        """All of the group that strike here."""
        strikes = self._world.strikes
        return [name for name in group if strikes(name)]
