"""The secret key that is made at the first start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from orchestrator_site.kept_key import kept_key


def test_a_key_is_made_once_and_kept_for_oneself(tmp_path: Path):
    path = tmp_path / "secret_key"
    key = kept_key(path)
    assert len(key) > 40
    assert kept_key(path) == key
    assert path.stat().st_mode & 0o077 == 0
    assert os.listdir(tmp_path) == ["secret_key"]


def test_an_empty_key_is_made_again(tmp_path: Path):
    """A start on a full disk had left one, and no later start got past it."""
    path = tmp_path / "secret_key"
    path.touch()
    assert len(kept_key(path)) > 40
    assert kept_key(path) == kept_key(path)


@pytest.mark.parametrize("is_there", [False, True], ids=["none is there", "an empty one is there"])
def test_of_several_that_make_one_at_once_all_have_the_same(tmp_path: Path, is_there: bool):
    make = "import sys\nfrom pathlib import Path\nfrom orchestrator_site.kept_key import kept_key\n"
    make += "print(kept_key(Path(sys.argv[1])))"
    command = [sys.executable, "-c", make, tmp_path / "secret_key"]
    if is_there:
        (tmp_path / "secret_key").touch()
    several = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate(timeout=60)[0] for process in several}) == 1


def test_a_full_disk_leaves_no_key_and_the_next_start_makes_one(tmp_path: Path):
    path = tmp_path / "secret_key"
    make = (
        "import resource, sys\nfrom pathlib import Path\nfrom orchestrator_site.kept_key import kept_key\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\nkept_key(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", make, path], capture_output=True, text=True, check=False)
    assert "The secret key can't be kept" in done.stderr
    assert os.listdir(tmp_path) == []
    assert kept_key(path)


def test_a_key_that_cannot_be_kept_is_one_line_that_names_the_file(tmp_path: Path):
    with pytest.raises(ImproperlyConfigured, match="secret_key"):
        kept_key(tmp_path / "nowhere" / "secret_key")
