"""The whole product, with room for many launches, and players in front of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Frame, Page

from tests.fixtures.stack import Stack, copy_of
from tests.fixtures.waiting import until

ROOMY = {
    "MAX_TOTAL_SANDBOXES": "6",
    "MAX_RUNS_PER_HOUR": "1000",
    "MAX_CONCURRENT_WARM": "20",
    "MAX_CONCURRENT_COLD": "20",
    "MAX_TOTAL_ACTIVE": "40",
}
START_SECONDS = 60


@pytest.fixture(scope="session")
def arcade(built_var: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(copy_of(built_var, tmp_path_factory.mktemp("arcade")), **ROOMY)
    try:
        yield stack.start()
    finally:
        stack.close()
        print(stack.log)


@dataclass
class Player:
    """Somebody at a browser, in front of one page."""

    page: Page
    site: str

    def open(self, path: str) -> "Player":
        self.page.goto(self.site + path)
        return self

    def launch(self, game: str, **choices: str) -> "Player":
        """From the game's page: choose, click, and be on the run's page."""
        self.open(f"/games/{game}/")
        for name, value in choices.items():
            self.page.locator(f"input[name={name}][value={value}]").check()
        self.page.locator("button.launch-button").click()
        self.page.wait_for_url("**/runs/*/")
        return self

    @property
    def state(self) -> str:
        return self.page.locator("[data-live=stage]").get_attribute("data-state") or ""

    @property
    def run_id(self) -> str:
        return self.page.url.rstrip("/").rsplit("/", 1)[-1]

    def wait_for(self, state: str) -> "Player":
        def reached() -> bool:
            assert state == "failed" or self.state != "failed", self.story
            return self.state == state

        try:
            until(reached, f"the run is {state}", seconds=START_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story}") from None
        return self

    @property
    def story(self) -> str:
        """What the page says of the run."""
        return self.page.locator("[data-live=stage]").inner_text() + "\n" + self.page.locator("[data-log]").inner_text()

    def game(self) -> Frame:
        """The game in its frame, loaded."""
        self.wait_for("running")
        frame = self.page.locator("#game-frame").element_handle().content_frame()
        assert frame is not None
        frame.wait_for_url(f"**/play/{self.run_id}/")
        frame.wait_for_load_state()
        return frame

    def end(self) -> None:
        """End whatever runs, so that its sandbox is free for others."""
        if self.page.url.startswith(self.site + "/runs/") and self.state not in ("ended", "failed"):
            if self.state == "running":
                self.game()  # what it still loads would be refused once the run is over
            self.page.locator("#end").click()
            self.wait_for("ended")


@pytest.fixture
def new_player(open_page: Callable[..., Page], arcade: Stack) -> Iterator[Callable[..., Player]]:
    """A player with a browser profile of their own; the options are those of Playwright's `new_context`."""
    players: list[Player] = []

    def arrive(**options: object) -> Player:
        player = Player(open_page(**{"viewport": {"width": 1280, "height": 800}, **options}), arcade.url)
        players.append(player)
        return player

    yield arrive
    for player in players:
        player.end()


@pytest.fixture
def player(new_player: Callable[..., Player]) -> Player:
    return new_player()
