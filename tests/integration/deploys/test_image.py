"""The image: every step of the Dockerfile is carried out, and what comes out runs as a container would run it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator_site import __version__
from tests.fixtures.catalog import Catalog
from tests.fixtures.image import Container, Image, is_sent
from tests.fixtures.waiting import until

VAR = "/var/lib/orchestrator"
ASK = """
import json, urllib.request
def ask(path, body=None):
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request("http://127.0.0.1:8000" + path, data, {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=30))
"""


@pytest.fixture(scope="module")
def container(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    folder = tmp_path_factory.mktemp("container")
    (folder / "volume").mkdir()
    # Those that come with the product have packages that are downloaded when their snapshots are built.
    Catalog(folder / "volume" / "catalog").write("chess")
    settings = {"CATALOG_DIR": f"{VAR}/catalog", "BIND": "127.0.0.1", "LOCALCLOUD_DEPLOY_SECONDS": "0.3"}
    container = Container(image, folder, **settings)
    try:
        until(lambda: container.execute(*image.health).returncode == 0, "it is healthy", seconds=120)
        yield container
    finally:
        container.close()
        print(container.log.read_text(errors="replace"))


def test_the_image_says_what_it_is(image: Image):
    assert image.labels["org.opencontainers.image.version"] in (__version__, "${VERSION}")
    assert image.stop_signal == "SIGTERM"
    assert image.user == "10001:10001"


def test_nothing_but_what_the_image_is_made_of_is_sent():
    assert is_sent("orchestrator_site")
    assert not any(map(is_sent, ("var", ".venv", "tests", ".git", "docs", "deploy")))


def test_a_container_plays_a_game_without_root_without_network_and_without_writing_beside_its_volume(
    container: Container,
):
    play = ASK + (
        "run = ask('/api/launch', {'game': 'chess'})\n"
        "import time\n"
        "while ask('/api/runs/' + run['run_id'])['state'] not in ('running', 'failed'): time.sleep(0.2)\n"
        "print(ask('/api/runs/' + run['run_id'])['state'])\n"
    )
    done = container.execute("python", "-c", play)
    assert done.stdout.strip() == "running", done.stderr
    assert container.execute("id", "-u").stdout == "10001\n"
    assert container.execute("touch", "/opt/orchestrator/x").returncode != 0
    assert container.execute("touch", "/x").returncode != 0


def test_it_tells_its_version(container: Container):
    assert container.execute("sandbox-orchestrator", "--version").stdout == f"sandbox-orchestrator {__version__}\n"


def test_a_polite_stop_ends_it_within_the_grace(container: Container):
    assert container.stop() == 0
