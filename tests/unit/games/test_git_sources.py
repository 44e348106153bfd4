"""A game's source comes from the address that an operator gave, and nothing but plain files of one folder does."""

from __future__ import annotations

import http.server
import os
import socket
import threading
from urllib.parse import urlsplit

import pytest

from games import git_sources, source_repositories
from games.git_sources import Address, AddressRefused, NotFetched, fetched
from games.models import VersionCode
from pools.cloud import outward
from tests.fixtures.git_server import GitServer


@pytest.fixture(autouse=True)
def _embedded(settings) -> None:
    settings.CLOUD_IS_EMBEDDED = True


def refusal(address: Address) -> NotFetched:
    with pytest.raises(NotFetched) as refused, fetched(address):
        pass
    return refused.value


def test_the_newest_commit_of_a_branch_and_folder_is_fetched(git_server: GitServer):
    games = git_server.add("games")
    games.write_game("chess", folder="all of them/chess")
    games.git("checkout", "--quiet", "-b", "next")
    commit = games.write_game("chess", folder="all of them/chess", title="Chess, again")
    games.git("checkout", "--quiet", "main")
    with fetched(Address.of(games.url, "next", "all of them/chess/")) as found:
        assert (found.commit, found.manifest.title) == (commit, "Chess, again")
        assert sorted(path.name for path in found.manifest.folder.iterdir()) == ["game.toml", "index.html", "server.py"]
        assert found.manifest.digest
        folder = found.manifest.folder
    assert not folder.exists()


def test_a_whole_repository_is_a_game_and_executable_files_stay_so(git_server: GitServer):
    games = git_server.add("my-chess")
    games.write_game("chess", files={"start.sh": "echo"})
    (games.folder / "start.sh").chmod(0o755)
    games.write(**{"bin.dat": b"\x00\n\xff"})
    with fetched(Address.of(games.url)) as found:
        assert os.access(found.manifest.folder / "start.sh", os.X_OK)
        assert (found.manifest.folder / "bin.dat").read_bytes() == b"\x00\n\xff"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/chess.git",
        "git@example.com:me/chess.git",
        "ssh://example.com/chess",
        "git://example.com/chess",
        "file:///etc",
        "ext::sh -c touch% /tmp/x",
        "https://",
        "https://example.com/a b",
        "https://example.com/a?token=1",
        "--upload-pack=touch",
        "https://[",
        "https://example.com:0/a",
        "https://example.com./a",
        "https://127%2e0.0.1/a",
        "/srv/chess",
        "https://example.com/" + "a" * 300,
    ],
)
def test_only_https_is_fetched_from(url: str):
    with pytest.raises(AddressRefused):
        Address.of(url)


@pytest.mark.parametrize("host", ["10.0.0.5", "169.254.169.254", "127.0.0.1", "2130706433", "[::1]", "[fd00::1]"])
def test_nothing_is_fetched_from_inside(host: str, settings):
    settings.CLOUD_IS_EMBEDDED = False
    error = refusal(Address.of(f"https://{host}/chess.git"))
    assert (error.code, "no public address" in str(error)) == (VersionCode.UNREACHABLE, True)


def test_it_is_fetched_from_the_very_address_that_was_looked_at(
    git_server: GitServer, settings, monkeypatch: pytest.MonkeyPatch
):
    """What the name resolves to a moment later does not matter; that git does not know it at all shows that."""
    settings.CLOUD_IS_EMBEDDED = False
    games = git_server.add("games")
    games.write_game("chess")
    port = urlsplit(games.url).port

    def found(host: str, port: int, **_: object) -> list[tuple]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    url = games.url.replace("127.0.0.1", "games.invalid")
    assert "no public address" in str(refusal(Address(url)))
    monkeypatch.setattr(outward, "is_public", lambda address: address == "127.0.0.1")
    with fetched(Address(url)) as got:
        assert (got.manifest.slug, port) == ("chess", urlsplit(url).port)


def test_no_redirect_is_followed(git_server: GitServer):
    games = git_server.add("games")
    games.write_game("chess")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"{games.url}/info/refs?service=git-upload-pack")
            self.end_headers()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        error = refusal(Address.of(f"http://127.0.0.1:{server.server_address[1]}/chess.git"))
    finally:
        server.shutdown()
        server.server_close()
    assert "leads on to another address" in str(error)
    assert git_server.paths == []


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(AddressRefused) as refused:
        Address.of("https://ada:s3cret@example.com/chess.git")
    assert "s3cret" not in str(refused.value)


def test_beside_a_real_account_loopback_is_no_address(settings):
    settings.CLOUD_IS_EMBEDDED = False
    with pytest.raises(AddressRefused):
        Address.of("http://127.0.0.1/chess.git")


@pytest.mark.parametrize("branch", ["-x", "a..b", "a b", "a:b", "/a", "a//b", "a" * 101, "@{-1}", "a\nb"])
def test_a_branch_is_a_name(branch: str):
    with pytest.raises(AddressRefused):
        Address.of("https://example.com/chess", branch)


@pytest.mark.parametrize("folder", ["..", "a/../b", ".git", "a/.GIT/b", "a//b", "a:b", "./a", "a\\b", "a" * 201])
def test_a_folder_stays_in_the_repository(folder: str):
    with pytest.raises(AddressRefused):
        Address.of("https://example.com/chess", "", folder)


def test_what_is_not_there_is_said_in_a_sentence(git_server: GitServer):
    games = git_server.add("games")
    games.write_game("chess", folder="chess")
    found = {
        VersionCode.NO_BRANCH: refusal(Address.of(games.url, "next", "chess")),
        VersionCode.NO_FOLDER: refusal(Address.of(games.url, "main", "checkers")),
        VersionCode.BAD_MANIFEST: refusal(Address.of(games.url)),
        VersionCode.UNREACHABLE: refusal(Address.of(f"{git_server.url}/nothing.git")),
    }
    assert {code: error.code for code, error in found.items()} == {code: code for code in found}
    assert str(found[VersionCode.NO_BRANCH]) == f"There is no branch next at {games.url}."
    assert "game.toml" in str(found[VersionCode.BAD_MANIFEST])
    assert "is not there" in str(found[VersionCode.UNREACHABLE]) or "not found" in str(found[VersionCode.UNREACHABLE])


def test_every_problem_of_a_manifest_is_named(git_server: GitServer):
    games = git_server.add("games")
    games.write_game("chess", port=80, runtime="perl")
    said = str(refusal(Address.of(games.url)))
    assert "port is 80" in said
    assert "runtime is 'perl'" in said


def test_links_and_submodules_are_refused(git_server: GitServer):
    games = git_server.add("links")
    games.write_game("chess")
    (games.folder / "secrets").symlink_to("/etc/passwd")
    games.write()
    assert refusal(Address.of(games.url)).code == VersionCode.NOT_FILES
    modules = git_server.add("modules")
    commit = modules.write_game("chess")
    modules.git("update-index", "--add", "--cacheinfo", f"160000,{commit},inner")
    modules.git("commit", "--quiet", "--message", "a submodule")
    assert refusal(Address.of(modules.url)).code == VersionCode.NOT_FILES


def test_a_tree_that_climbs_writes_nothing(git_server: GitServer):
    """git's own commands make no such tree; whoever wants to harm us does."""
    games = git_server.add("evil")
    games.write_game("chess")
    blob = games.git("rev-parse", "HEAD:index.html")
    inner = games.folder / "tree"
    inner.write_bytes(b"100644 ..\0" + bytes.fromhex(blob))
    tree = games.git("hash-object", "--literally", "-t", "tree", "-w", "tree")
    games.git("update-ref", "refs/heads/main", games.git("commit-tree", tree, "-m", "evil"))
    assert refusal(Address.of(games.url)).code in (VersionCode.NOT_FILES, VersionCode.UNREACHABLE)


@pytest.mark.parametrize("name", ["é" * 128, "a/" * 600 + "a"])
def test_a_name_that_no_file_can_have_is_refused(git_server: GitServer, name: str):
    games = git_server.add("long")
    games.write_game("chess")
    blob = games.git("rev-parse", "HEAD:index.html")
    games.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
    games.git("commit", "--quiet", "--message", "a long name")
    assert refusal(Address.of(games.url)).code == VersionCode.NOT_FILES


def test_what_is_too_large_is_not_taken(git_server: GitServer, monkeypatch: pytest.MonkeyPatch):
    games = git_server.add("large")
    games.write_game("chess")
    games.write(noise=os.urandom(300_000))
    monkeypatch.setattr(git_sources, "MOST_PACK_BYTES", 100_000)
    assert refusal(Address.of(games.url)).code == VersionCode.TOO_LARGE
    monkeypatch.setattr(git_sources, "MOST_PACK_BYTES", 1_000_000)
    monkeypatch.setattr(git_sources, "MOST_BYTES", 100_000)
    assert refusal(Address.of(games.url)).code == VersionCode.TOO_LARGE
    monkeypatch.setattr(git_sources, "MOST_BYTES", 1_000_000)
    monkeypatch.setattr(git_sources, "MOST_FILES", 3)
    assert "more than 3 files" in str(refusal(Address.of(games.url)))


def test_trees_that_name_more_files_than_there_are_bytes_are_left_at_once(
    git_server: GitServer, monkeypatch: pytest.MonkeyPatch
):
    """Ten trees in each of ten levels name 10^10 files in some kB: their list was read whole before it was counted."""
    games = git_server.add("bomb")
    games.write_game("chess")
    inner = games.git("rev-parse", "HEAD:index.html")
    for level in range(10):
        mode = "40000" if level else "100644"
        entries = b"".join(f"{mode} {name}\0".encode() + bytes.fromhex(inner) for name in "abcdefghij")
        (games.folder / "tree").write_bytes(entries)
        inner = games.git("hash-object", "-t", "tree", "-w", "tree")
    games.git("update-ref", "refs/heads/main", games.git("commit-tree", inner, "-m", "a bomb"))
    monkeypatch.setattr(git_sources, "MOST_FILES", 1_000)
    error = refusal(Address.of(games.url))
    assert (error.code, "more than 1000 files" in str(error)) == (VersionCode.TOO_LARGE, True)


def test_what_git_complains_of_is_kept_in_bounds(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """A server chooses how much it says."""
    (tmp_path / "git").write_text(
        "#!/bin/sh\nhead -c 5000000 /dev/zero | tr '\\0' x >&2\necho fatal: so it is >&2\nexit 1\n"
    )
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(source_repositories.SourceRepositoryError) as failed:
        source_repositories.run(None, "fetch", most_bytes=1_000)
    assert str(failed.value).endswith("fatal: so it is")
    assert len(str(failed.value)) < 20_000


def test_a_server_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(source_repositories, "GIT_SECONDS", 2)
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            over.wait(60)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        error = refusal(Address.of(f"http://127.0.0.1:{server.server_address[1]}/chess.git"))
        assert error.code == VersionCode.TOO_SLOW
    finally:
        over.set()
        server.shutdown()
        server.server_close()
