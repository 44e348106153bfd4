"""`manage.py rotate_secret_key`: where it writes, what it prints, and when it forgets."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from orchestrator_site import environment
from pools import agent_keys
from pools.models import Sandbox, State

VARIABLES = ("SECRET_KEY", "SECRET_KEY_FILE", "SECRET_KEY_FALLBACKS", "SECRET_KEY_FALLBACKS_FILE")


@pytest.fixture
def var(tmp_path: Path, settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A product that keeps its key by itself."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    settings.VAR_DIR = tmp_path
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "the first", []
    (tmp_path / "secret_key").write_text("the first")
    return tmp_path


def rotate(settings, *options: str) -> str:
    """Run it, and start again with what it wrote."""
    out = StringIO()
    call_command("rotate_secret_key", *options, stdout=out)
    if (kept := settings.VAR_DIR / "secret_key_fallbacks").exists():
        settings.SECRET_KEY_FALLBACKS = kept.read_text().splitlines()
    settings.SECRET_KEY = (settings.VAR_DIR / "secret_key").read_text().strip()
    return out.getvalue()


@pytest.mark.django_db
def test_two_steps_change_the_kept_key_and_a_third_forgets_the_former(var: Path, settings):
    assert "Only when that is done: rotate_secret_key --restarted" in rotate(settings)
    assert settings.SECRET_KEY == "the first"
    new, first = settings.SECRET_KEY_FALLBACKS
    assert (len(new) > 40, first) == (True, "the first")
    said = rotate(settings, "--restarted")
    assert "The new key is in use" in said
    assert new not in said
    assert (new, [new, "the first"]) == (settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS)
    rotate(settings, "--forget")
    assert (new, [new]) == (settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS)
    assert sorted(path.name for path in var.iterdir()) == ["secret_key", "secret_key_fallbacks"]
    assert (var / "secret_key_fallbacks").stat().st_mode & 0o077 == 0


def test_a_key_that_nobody_knows_yet_does_not_come_into_use_by_a_slip(var: Path, settings):
    """The same command twice, with no restart in between, and processes refused what others signed."""
    with pytest.raises(CommandError, match="No key is announced"):
        rotate(settings, "--restarted")
    rotate(settings)
    announced = (var / "secret_key_fallbacks").read_text()
    with pytest.raises(CommandError, match="announced already"):
        rotate(settings)
    assert (var / "secret_key_fallbacks").read_text() == announced
    assert settings.SECRET_KEY == "the first"


@pytest.mark.django_db
def test_a_former_key_is_not_forgotten_while_sandboxes_need_it(var: Path, settings):
    Sandbox.objects.create(
        name="sandbox-00c0ffee", runtime="python", image="i", region="syd", size="s", state=State.READY, origin="pool",
        create_code="demand", create_reason="a test", requested_at=timezone.now(),
        token_key=agent_keys.fingerprint("the first"),
    )  # fmt: skip
    rotate(settings, "--at-once")
    with pytest.raises(CommandError, match="1 of the sandboxes that exist were made under a former key"):
        rotate(settings, "--forget")
    Sandbox.objects.update(state=State.DELETED, end_code="idle", end_reason="a test")
    rotate(settings, "--forget")


def test_files_that_the_environment_names_are_written_and_stay_whose_they_are(var: Path, settings, monkeypatch):
    key, others = var / "given", var / "others"
    key.write_text("the first")
    others.write_text("the first")
    key.chmod(0o640)
    monkeypatch.setenv("SECRET_KEY_FILE", str(key))
    monkeypatch.setenv("SECRET_KEY_FALLBACKS_FILE", str(others))
    rotate(settings, "--at-once")
    new, before = others.read_text().splitlines()
    assert (key.read_text().strip(), before) == (new, "the first")
    assert key.stat().st_mode & 0o777 == 0o640


def test_of_variables_it_prints_what_to_set(var: Path, settings, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "the first")
    said = rotate(settings)
    assert ",the first\n" in said
    assert said.startswith("Set SECRET_KEY_FALLBACKS=")
    assert not (var / "secret_key_fallbacks").exists()


def test_a_file_that_can_not_be_written_is_one_sentence(var: Path, monkeypatch):
    monkeypatch.setenv("SECRET_KEY_FILE", str(var / "secret_key"))
    monkeypatch.setenv("SECRET_KEY_FALLBACKS_FILE", "/proc/secret_key_fallbacks")
    with pytest.raises(CommandError, match="/proc/secret_key_fallbacks can't be written"):
        call_command("rotate_secret_key", stdout=StringIO())


def test_files_of_the_running_installation_are_written_where_the_shell_names_none(
    var: Path, settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A key went to a file that nothing read."""
    named = tmp_path / "elsewhere"
    monkeypatch.setattr(environment, "_lent", {"SECRET_KEY_FALLBACKS_FILE": str(named)})
    assert f"Written: {named}" in rotate(settings)
    assert not (var / "secret_key_fallbacks").exists()
