"""A game's source at a git address that an operator gave: fetched within bounds, and never trusted.

Only public repositories: no credential is ever sent, and an address that holds one is refused. Of what comes, only
plain files of one folder are taken, by their names and sizes; git's own checkout is not used.
"""

from __future__ import annotations

import ipaddress
import re
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpcore
from django.conf import settings

from games.manifest import FILE_NAME, Manifest, ManifestError, read_manifest
from games.models import VersionCode
from games.source_repositories import GitTimedOut, SourceRepositoryError, pieces, run
from pools.cloud.api_transport import is_loopback
from pools.cloud.bounded import Punctual
from pools.cloud.fitting import fitted
from pools.cloud.outward import require_public

MOST_PACK_BYTES = 64 * 1024**2
MOST_BYTES = 64 * 1024**2  # of its files together
MOST_FILES = 5_000
MOST_LINE_BYTES = 64 * 1024
MOST_PATH_BYTES, MOST_NAME_BYTES = 1_000, 255  # what file systems take, and no tree as deep as Python's stack
MOST_ADDRESS = 300
MOST_SAID = 300
SLOW_BYTES, SLOW_SECONDS = 1_000, 15  # a server that sends less for so long has gone
LOOKUP_SECONDS = 5.0
HTTPS_PORT = 443
PLAIN_FILES = {"100644": 0o644, "100755": 0o755}
# No other spelling of a name or number, of which git might think otherwise than whoever looked it up.
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?|[0-9a-f:.]+")
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,99}")
_FOLDER = re.compile(r"[A-Za-z0-9._/+ -]{1,200}")
_SLUG = re.compile(r"[a-z0-9-]{1,40}")


class AddressRefused(ValueError):
    """No source is fetched from such an address; the message says what to give instead."""


class NotFetched(Exception):
    """The source could not be fetched, or is no game. The message is a sentence for an operator."""

    def __init__(self, code: VersionCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Address:
    """Where a game's source is: a repository, its branch (empty for the default) and a folder (empty for all of it)."""

    url: str
    branch: str = ""
    folder: str = ""

    @classmethod
    def of(cls, url: str, branch: str = "", folder: str = "") -> Address:
        """The address that was given. Raises AddressRefused."""
        url, branch, folder = url.strip(), branch.strip(), folder.strip().strip("/")
        _require_fetchable(url)
        if branch and (
            not _BRANCH.fullmatch(branch) or ".." in branch or "//" in branch or branch.endswith(("/", "."))
        ):
            raise AddressRefused("That can't be a branch's name.")
        if folder and (not _FOLDER.fullmatch(folder) or {"", ".", "..", ".git"} & set(folder.lower().split("/"))):
            raise AddressRefused("The folder is a path inside the repository, such as games/snake, without '..'.")
        return cls(url, branch, folder)

    def __str__(self) -> str:
        branch = f" branch {self.branch}" if self.branch else ""
        return f"{self.url}{branch}{f' folder {self.folder}' if self.folder else ''}"


def _require_fetchable(url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("That is no address.") from None
    if parts.username is not None or parts.password is not None:
        # Not repeated: it may be a password.
        raise AddressRefused("An address holds no name and no password: only public repositories can be added.")
    if not re.fullmatch(r"[\x21-\x7e]+", url) or len(url) > MOST_ADDRESS or parts.query or parts.fragment:
        raise AddressRefused("Give the address that `git clone` takes, such as https://example.com/me/my-game.git.")
    is_local = _may_be_local() and parts.scheme == "http" and is_loopback(url)
    if not _HOST.fullmatch(parts.hostname or "") or port == 0 or not (parts.scheme == "https" or is_local):
        raise AddressRefused("The address of a repository begins with https://.")


def _may_be_local() -> bool:
    """Whether a server on this machine may be fetched from: where the sandboxes are its processes, too."""
    return bool(settings.CLOUD_IS_EMBEDDED)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A game's files as they are at a commit; `manifest.folder` lasts as long as the block that fetched them."""

    commit: str
    manifest: Manifest


@contextmanager
def fetched(address: Address) -> Iterator[Fetched]:
    """The newest commit of an address, its files and its manifest. Raises NotFetched."""
    with tempfile.TemporaryDirectory(prefix="game-source-") as name:
        folder = Path(name)
        repository = folder / "fetched.git"
        try:
            commit = _fetch(address, repository, folder)
            files = folder / "files"
            files.mkdir()
            _write(_listed(repository, commit, address.folder), repository, files)
            yield Fetched(commit, _read(files))
        except GitTimedOut as error:
            raise NotFetched(VersionCode.TOO_SLOW, f"{address.url} took too long: {error}") from None
        except SourceRepositoryError as error:
            raise NotFetched(VersionCode.UNREACHABLE, fitted(str(error), MOST_SAID)) from None


def _fetch(address: Address, repository: Path, home: Path) -> str:
    run(None, "init", "--quiet", "--bare", "--template=", str(repository))
    limits = [
        "-c", "fetch.unpackLimit=1",  # one file, whose size is bounded
        "-c", f"http.lowSpeedLimit={SLOW_BYTES}",
        "-c", f"http.lowSpeedTime={SLOW_SECONDS}",
        "-c", "credential.helper=",
        "-c", "http.followRedirects=false",  # to where nobody has looked
        *_pinned(address.url),
        "-c", "pack.threads=1",  # each reserves memory, which is bounded
    ]  # fmt: skip
    # No configuration, netrc or key of whoever runs this is used, and no other protocol than what was allowed.
    environment = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_ALLOW_PROTOCOL": urlsplit(address.url).scheme,
    }
    wanted = f"refs/heads/{address.branch}" if address.branch else "HEAD"
    options = ["--quiet", "--depth", "1", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"]
    fetch = [*limits, "fetch", *options, "--", address.url, f"+{wanted}:refs/heads/fetched"]
    try:
        run(repository, *fetch, environment=environment, most_bytes=MOST_PACK_BYTES)
    except GitTimedOut:
        raise
    except SourceRepositoryError as error:
        raise _why_not(address, str(error)) from None
    return run(repository, "rev-parse", "--verify", "refs/heads/fetched^{commit}").decode().strip()


def _pinned(url: str) -> list[str]:
    """Let git connect to the very addresses that were looked at, which are public. Raises NotFetched."""
    if _may_be_local() and is_loopback(url):
        return []
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or HTTPS_PORT
    try:
        found = Punctual().addresses(host, port, LOOKUP_SECONDS)
        require_public(host, found)
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
        raise NotFetched(VersionCode.UNREACHABLE, f"{url} is not fetched: {error}.") from None
    if ":" in host or host in found:
        return []  # nothing is looked up
    addresses = ",".join(f"[{each}]" if ipaddress.ip_address(each).version == 6 else each for each in found)
    return ["-c", f"http.curloptResolve={host}:{port}:{addresses}"]


def _why_not(address: Address, said: str) -> NotFetched:
    """Say what git complained of."""
    if "couldn't find remote ref" in said:
        what = f"no branch {address.branch}" if address.branch else "no commit"
        return NotFetched(VersionCode.NO_BRANCH, f"There is {what} at {address.url}.")
    if "index-pack" in said or "signal 25" in said or "File size limit" in said:
        most = MOST_PACK_BYTES // 1024**2
        return NotFetched(VersionCode.TOO_LARGE, f"{address.url} has more than {most} MB to fetch.")
    if "terminal prompts disabled" in said or "could not read" in said or "Authentication failed" in said:
        sentence = f"{address.url} is not there, or asks for a password: only public repositories can be added."
        return NotFetched(VersionCode.UNREACHABLE, sentence)
    if re.search(r"returned error: 30\d", said):
        sentence = f"{address.url} leads on to another address, which is not followed: give that one."
        return NotFetched(VersionCode.UNREACHABLE, sentence)
    why = fitted(said.rpartition("fatal: ")[2].partition("\n")[0], MOST_SAID)
    return NotFetched(VersionCode.UNREACHABLE, f"{address.url} could not be fetched: {why}")


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    mode: int
    blob: str


def _listed(repository: Path, commit: str, folder: str) -> list[_File]:
    """The game's files at that commit, all of which may be written. Raises NotFetched."""
    tree = f"{commit}:{folder}"
    try:
        is_folder = run(repository, "cat-file", "-t", tree, most_bytes=MOST_PACK_BYTES).strip() == b"tree"
    except SourceRepositoryError:
        is_folder = False
    if not is_folder:
        raise NotFetched(VersionCode.NO_FOLDER, f"There is no folder {folder} in the repository.")
    found, size = [], 0
    with closing(pieces(repository, "ls-tree", "-r", "-l", "-z", tree, most_bytes=MOST_PACK_BYTES)) as listed:
        for line in _lines(listed):
            head, _, name = line.partition(b"\t")
            mode, _, blob, length = head.decode().split()
            path = name.decode(errors="replace")
            if mode not in PLAIN_FILES or not _may_be_written(path):
                what = f"{fitted(path, 100)!r} is a link, a submodule or no name of a file"
                raise NotFetched(VersionCode.NOT_FILES, f"A game is made of plain files alone: {what}.")
            size += int(length)
            found.append(_File(path, PLAIN_FILES[mode], blob))
            if (
                len(found) > MOST_FILES or size > MOST_BYTES
            ):  # a few kB of trees can name more files than there are atoms
                most = f"{MOST_FILES} files or {MOST_BYTES // 1024**2} MB"
                raise NotFetched(VersionCode.TOO_LARGE, f"It has more than {most}, which is the most.")
    return found


def _lines(listed: Iterator[bytes]) -> Iterator[bytes]:
    """What ends with a zero byte; one that is too long for a name without waiting for its end."""
    rest = b""
    for piece in listed:
        *whole, rest = (rest + piece).split(b"\0")
        yield from whole
        if len(rest) > MOST_LINE_BYTES:
            yield rest


def _may_be_written(path: str) -> bool:
    parts = path.split("/")
    if len(path.encode()) > MOST_PATH_BYTES or any(len(part.encode()) > MOST_NAME_BYTES for part in parts):
        return False
    return path.isprintable() and "\\" not in path and not {"", ".", "..", ".git"} & {part.lower() for part in parts}


def _write(files: list[_File], repository: Path, folder: Path) -> None:
    asked = "".join(f"{file.blob}\n" for file in files).encode()
    answer = run(repository, "cat-file", "--batch", given=asked, most_bytes=MOST_PACK_BYTES)
    at = 0
    for file in files:
        end = answer.index(b"\n", at)
        length = int(answer[at:end].split()[2])
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(answer[end + 1 : end + 1 + length])
        target.chmod(file.mode)
        at = end + 1 + length + 1


def _read(files: Path) -> Manifest:
    """Its manifest, whose slug names the folder. Raises NotFetched."""
    try:
        slug = str(tomllib.loads((files / FILE_NAME).read_text(encoding="utf-8")).get("slug", ""))
        if _SLUG.fullmatch(slug) and not (files.parent / slug).exists():
            files = files.rename(files.parent / slug)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        pass  # said by whoever reads all of it
    try:
        return read_manifest(files)
    except ManifestError as error:
        raise NotFetched(VersionCode.BAD_MANIFEST, f"{FILE_NAME}: {'; '.join(error.problems)}.") from None
