"""The whole product with a catalog of tiny games, while folders and pools come and go."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from tests.fixtures.catalog import Catalog
from tests.fixtures.stack import Stack
from tests.fixtures.waiting import until

PARTS = ("acquire_ms", "bootstrap_ms", "restore_ms", "start_ms")
NODE_SERVER = """
require("http").createServer((request, answer) => {
  answer.setHeader("Content-Type", "text/html");
  answer.end("<!doctype html><title>Dice</title><h1>Dice</h1>");
}).listen(Number(process.env.PORT), "127.0.0.1");
"""


class Site(Stack):
    """A running product and its catalog's folder."""

    catalog: Catalog

    def load_catalog(self) -> tuple[str, str]:
        """What `manage.py catalog` says, and what it complains of."""
        done = self.manage("catalog")
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    def games(self) -> list[str]:
        return [game["slug"] for game in self.get("/api/games").json()]

    def call(self, method: str, path: str, token: str = "", **body: object) -> dict:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = httpx.request(method, self.url + path, json=body or None, headers=headers, timeout=30, trust_env=False)
        return answer.json() | {"http": answer.status_code}

    def click(self, game: str, mode: str) -> dict:
        """The answer to the launch itself."""
        return self.call("POST", f"/api/launch/{mode}", game=game)

    def play(self, run: dict) -> dict:
        """The run when it is running; its page has come through the proxy, and then it is ended."""
        token = run["token"]
        path = f"/api/sandbox/{run['run_id']}"

        def settled() -> dict | None:
            now = self.get(path).json()
            assert now["state"] not in ("failed", "ended"), now
            return now if now["state"] == "running" else None

        run = until(settled, "the run is running", seconds=60)
        page = self.get(f"/play/{run['run_id']}/")
        assert (page.status_code, f"<h1>{run['game'].title()}</h1>" in page.text) == (200, True), page.text
        assert sum(run["timings"][part] for part in PARTS) == run["timings"]["total_ms"]
        assert self.call("DELETE", path, token)["http"] == 200
        return run

    def staged(self, runtime: str) -> list[str]:
        """The games that run in a warm sandbox of that runtime."""
        with closing(sqlite3.connect(f"file:{self.var}/orchestrator.sqlite3?mode=ro", uri=True)) as database:
            rows = database.execute(
                "SELECT staged FROM pools_sandbox WHERE state = 'ready' AND runtime = ?", [runtime]
            ).fetchall()
        return sorted({slug for (staged,) in rows for slug, entry in json.loads(staged).items() if entry["started"]})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("games") / "catalog"
    catalog = Catalog(folder)
    catalog.write("chess", position=1)
    catalog.write(
        "dice", position=2, runtime="node", run="node server.js", snapshot="dice-node", files={"server.js": NODE_SERVER}
    )
    site = Site(tmp_path_factory.mktemp("stack"), CATALOG_DIR=str(folder), MAX_TOTAL_SANDBOXES="6")
    site.catalog = catalog
    try:
        site.start()
        until(lambda: "Snapshot of dice is ready" in site.log, "the snapshots are built", seconds=60)
        yield site
    finally:
        site.close()
        print(site.log)


def test_the_first_start_builds_what_is_missing_and_says_how_far_it_is(site: Site):
    for line in ("chess: building, 1 of 2", "chess is ready: ", "dice: building, 2 of 2", "dice is ready: "):
        assert f"Snapshot of {line}" in site.log
    assert site.get("/api/pool/status").json()["total_sandboxes"] == 0, "and creates nothing in the account"


def test_a_folder_makes_another_game_playable_cold_and_warm(site: Site):
    site.catalog.write("go", position=3)
    assert site.load_catalog() == ("new: go\n", "")
    assert site.games() == ["chess", "dice", "go"]
    assert "Go" in site.get("/").text
    until(lambda: "Snapshot of go is ready" in site.log, "its snapshot is built", seconds=90)

    cold = site.play(site.click("go", "cold"))
    assert (cold["served_by"], cold["deployed_from"], cold["notice"]) == ("cold", "snapshot", "")
    site.play(site.click("go", "warm"))  # demand
    until(lambda: site.staged("python") == ["chess", "go"], "a warm sandbox with both", seconds=90)
    warm = site.click("go", "warm")
    assert (warm["state"], warm["served_by"], warm["deployed_from"]) == ("running", "pool", "staged")
    site.play(warm)


def test_a_wrong_field_is_told_clearly_and_hides_no_other_game(site: Site):
    before = site.games()
    site.catalog.write("broken", port="eighty", colour="red")
    said, complaint = site.load_catalog()
    assert "broken" not in said
    file = site.catalog.folder / "broken" / "game.toml"
    assert f"{file}: port is 'eighty'; it must be a whole number from 1024 to 65535" in complaint
    assert f"{file}: 'colour' is not a field; the fields are slug, title" in complaint
    assert site.games() == before
    shutil.rmtree(site.catalog.folder / "broken")


def test_a_game_without_its_folder_is_gone_and_its_runs_are_kept(site: Site):
    site.catalog.write("draughts", position=4)
    site.load_catalog()
    run = site.click("draughts", "cold")
    site.call("DELETE", f"/api/sandbox/{run['run_id']}", run["token"])
    shutil.rmtree(site.catalog.folder / "draughts")
    assert site.load_catalog() == ("gone: draughts\n", "")
    assert "draughts" not in site.games()
    refused = site.click("draughts", "cold")
    assert (refused["http"], "no game" in refused["errors"][0]["message"]) == (422, True), refused
    assert site.get(f"/api/sandbox/{run['run_id']}").json()["game"] == "draughts"
    assert site.get(run["page_url"].removeprefix(site.url)).status_code == 200


def test_without_a_node_pool_a_warm_launch_says_that_it_starts_cold_and_with_one_it_is_warm(site: Site):
    why = "There is no warm pool for Node.js"
    run = site.click("dice", "warm")
    assert (run["served_by"], run["notice"]) == ("cold_fallback", f"{why}: this is a cold start.")
    events = site.get(f"/api/runs/{run['run_id']}/events").json()["events"]
    assert f"{why}: cold start." in [event["message"] for event in events]
    assert why in site.get(run["page_url"].removeprefix(site.url)).text
    site.play(run)

    site.python(
        "from pools.models import Pool; from django.conf import settings; Pool.objects.create(name='node', "
        "runtime='node', image=settings.SANDBOX_IMAGES['node'], region='syd', size='apps-s-1vcpu-1gb')"
    )
    site.play(site.click("dice", "warm"))  # demand
    until(lambda: site.staged("node") == ["dice"], "a warm Node sandbox", seconds=90)
    warm = site.click("dice", "warm")
    assert (warm["state"], warm["served_by"], warm["deployed_from"]) == ("running", "pool", "staged")
    assert warm["notice"] == ""
    site.play(warm)
