"""What processes have counted outlives them, once; what a gauge says goes with them."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
PREAMBLE = """
import os, signal, sys, time
from pathlib import Path
import django
django.setup()
from django.conf import settings
from orchestrator_site.metrics import processes, told
from pools import meters
from runs.metrics import LAUNCHES, PROXIED, STREAMS

meters.begin()

def figures():
    found = processes.families(processes.totals(Path(settings.METRICS_DIR)))
    return {(s.name, *s.labels.values()): s.value for family in found for s in family.samples}

def in_a_child(count, die=signal.SIGKILL):
    child = os.fork()
    if child == 0:
        count()
        os.kill(os.getpid(), die)
    os.waitpid(child, 0)
"""
PASSED = 'figures()["arcade_proxy_requests_total", "passed"]'
OPEN = 'figures()["arcade_streams_open", "run"]'


@pytest.fixture
def counting(tmp_path):
    """`counting(code)`: what a process prints that counts."""

    def run(code: str, **settings: str) -> str:
        environment = {"METRICS_PORT": "9464", **settings}
        environment |= {"ORCHESTRATOR_VAR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "orchestrator_site.settings"}
        done = subprocess.run(
            [sys.executable, "-c", PREAMBLE + code],
            cwd=CHECKOUT,
            env={"PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Not everything is counted" not in done.stderr
        return done.stdout.strip()

    return run


def test_what_was_counted_outlives_a_kill_and_counts_once(counting, tmp_path):
    code = f"""
PROXIED.add("passed")
for _ in range(3):
    in_a_child(lambda: PROXIED.add("passed", by=10))
print([{PASSED} for _ in range(3)])
"""
    assert json.loads(counting(code)) == [31, 31, 31]
    assert json.loads(counting(f"print({PASSED})")) == 31, "of processes that are all gone by now"
    assert len(list((tmp_path / "metrics").glob("*.db"))) == 0


def test_a_sum_of_seconds_is_the_same_whoever_ends_first(counting):
    """Fractions added in another order come to a little less, which counts as a restart of all."""
    code = """
def wait(tenths):
    LAUNCHES.note(tenths / 10, "staged")
    ready.close()
    time.sleep(60)

def total():
    return figures()["arcade_launch_seconds_sum", "staged"]

children = []
for tenths in range(1, 11):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        ready = os.fdopen(write)
        wait(tenths)
    os.close(write)
    os.read(read, 1)
    children.append(child)
seen = [total()]
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    seen.append(total())
print(seen)
"""
    assert json.loads(counting(code)) == [5.5] * 11


def test_a_gauge_goes_with_its_process(counting):
    code = f"""
STREAMS.change(1, "run")
child = os.fork()
if child == 0:
    STREAMS.change(2, "run")
    time.sleep(60)
deadline = time.monotonic() + 20
while {OPEN} != 3 and time.monotonic() < deadline:
    time.sleep(0.01)
seen = [{OPEN}]
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
print([*seen, {OPEN}])
"""
    assert json.loads(counting(code)) == [3, 1]


def test_a_pid_that_comes_again_is_another_process(counting):
    """Containers that share a folder have the same ones, too."""
    code = f"""
os.getpid = lambda: 7
PROXIED.add("passed")
STREAMS.change(1, "run")
print([{PASSED}, {OPEN}], flush=True)
os._exit(0)
"""
    assert json.loads(counting(code)) == [1, 1]
    assert json.loads(counting(code)) == [2, 1]


def test_a_histogram_is_the_sum_of_all_processes_with_rising_buckets(counting):
    code = """
LAUNCHES.note(0.25, "staged")
in_a_child(lambda: (LAUNCHES.note(0.3, "staged"), LAUNCHES.note(900, "staged")))
found = figures()
print([[found["arcade_launch_seconds_bucket", "staged", le] for le in ("0.2", "0.3", "300.0", "+Inf")],
       found["arcade_launch_seconds_count", "staged"], found["arcade_launch_seconds_sum", "staged"]])
"""
    assert json.loads(counting(code)) == [[0, 2, 2, 3], 3, 900.55]


def test_one_that_was_added_and_not_removed_is_not_added_again(counting):
    """The reader was killed between the two."""
    code = f"""
in_a_child(lambda: PROXIED.add("passed"))
remove, processes._remove = processes._remove, lambda *_: None
seen = [{PASSED}]
processes._remove = remove
print([*seen, {PASSED}, {PASSED}])
"""
    assert json.loads(counting(code)) == [1, 1, 1]


def test_a_full_disk_loses_no_count_of_those_that_ended(counting):
    code = f"""
in_a_child(lambda: PROXIED.add("passed"))
def full(*_): raise OSError(28, "No space left on device")
write, processes._write_kept = processes._write_kept, full
seen = [{PASSED}, {PASSED}]
processes._write_kept = write
print([*seen, {PASSED}])
"""
    assert json.loads(counting(code)) == [1, 1, 1]


def test_what_can_not_be_counted_keeps_nobody_from_work(tmp_path, counting):
    """The folder can't be made, say."""
    (tmp_path / "metrics").write_text("in the way")
    code = """
import logging; logging.disable()
PROXIED.add("passed")
STREAMS.change(1, "run")
print("went on")
"""
    assert counting(code) == "went on"


def test_a_label_has_the_values_that_were_declared(counting):
    code = """
for n in range(500):
    PROXIED.add('x"} evil{y="%d' % n)
found = [labels for name, *labels in figures() if name == "arcade_proxy_requests_total"]
print({outcome for (outcome,) in found} == {*PROXIED.labels["outcome"], "other"})
print(figures()["arcade_proxy_requests_total", "other"], len(PROXIED._children))
"""
    assert counting(code) == "True\n500.0 0"


def test_two_releases_whose_words_differ_count_as_one(counting):
    """The library has a metric's help in the key of each value."""
    code = f"""
def other(by):
    PROXIED.text = "What another release says of it."
    PROXIED._parent, PROXIED._children = None, {{}}
    PROXIED.add("passed", by=by)

PROXIED.add("passed", by=1)
lives = os.fork()
if lives == 0:
    other(10)
    time.sleep(60)
deadline = time.monotonic() + 20
while {PASSED} != 11 and time.monotonic() < deadline:
    time.sleep(0.01)
seen = [{PASSED}]
in_a_child(lambda: other(100))
seen.append({PASSED})
os.kill(lives, signal.SIGKILL)
os.waitpid(lives, 0)
in_a_child(lambda: PROXIED.add("passed", by=1000))
print([*seen, {PASSED}, {PASSED}])
"""
    assert json.loads(counting(code)) == [11, 111, 1111, 1111]


def test_what_another_version_has_left_is_not_told(counting):
    code = """
import json
def key(name, sample, **labels): return json.dumps([name, sample, labels], sort_keys=True)
old = {
    key("arcade_gone", "arcade_gone_total"): 1,
    key("arcade_proxy_requests", "arcade_proxy_requests_total", game="snake"): 2,
    key("arcade_launch_seconds", "arcade_launch_seconds_bucket", served="staged", le="0.123"): 3,
}
found = [family for family in processes.families(old)]
print([sample for family in found for sample in family.samples if sample.value])
"""
    assert counting(code) == "[]"


def test_nothing_is_counted_by_default(counting, tmp_path):
    counting('PROXIED.add("passed"); STREAMS.change(1, "run"); LAUNCHES.note(1, "staged")', METRICS_PORT="")
    assert not (tmp_path / "metrics").exists()


def test_a_command_that_neither_serves_nor_works_leaves_no_files(tmp_path):
    environment = {"METRICS_PORT": "9464", "ORCHESTRATOR_VAR": str(tmp_path), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "manage.py", "migrate"], cwd=CHECKOUT, env=environment, check=True, timeout=120)
    assert not (tmp_path / "metrics").exists()


def test_what_ended_processes_counted_is_put_away_without_anybody_asking(counting, tmp_path):
    code = """
import threading
threading.Thread(target=processes.keep_folded, args=(Path(settings.METRICS_DIR), 0.05), daemon=True).start()
in_a_child(lambda: PROXIED.add("passed"))
deadline = time.monotonic() + 20
while list(Path(settings.METRICS_DIR).glob("*.db")) and time.monotonic() < deadline:
    time.sleep(0.01)
"""
    counting(code)
    assert not list((tmp_path / "metrics").glob("*.db"))
    assert "arcade_proxy_requests_total" in (tmp_path / "metrics" / "kept.json").read_text()


def test_a_full_disk_is_not_tried_with_each_count(counting):
    code = """
import logging; logging.disable()
tries = []
def full(*_):
    tries.append(1)
    raise OSError(28, "No space left on device")
begin, meters._Identity._begin = meters._Identity._begin, full
for _ in range(100):
    PROXIED.add("passed")
    STREAMS.change(1, "run")
tried = len(tries)
meters._Identity._begin, meters._rests_until_seconds = begin, 0.0
PROXIED.add("passed")
STREAMS.change(-98, "run")
print([tried, figures()["arcade_proxy_requests_total", "passed"], figures()["arcade_streams_open", "run"]])
"""
    assert json.loads(counting(code)) == [1, 1, 2]


def test_a_fork_waits_for_no_lock_of_threads_that_it_does_not_have(counting):
    code = """
import threading
def count():
    while True:
        LAUNCHES.note(0.2, "staged")
        meters._making.acquire(); meters._making.release()
for _ in range(2):
    threading.Thread(target=count, daemon=True).start()
children = []
for _ in range(30):
    time.sleep(0.003)
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends it
        PROXIED.add("passed")
        os._exit(0)
    children.append(os.waitpid(child, 0)[1])
print(sum(children), figures()["arcade_proxy_requests_total", "passed"])
"""
    assert counting(code) == "0 30.0"


@pytest.mark.parametrize("site", ["PORT", "PLAY_PORT"])
def test_the_port_is_never_the_sites(counting, site: str):
    with pytest.raises(AssertionError, match="METRICS_PORT is 9464, which is the site's"):
        counting("", **{site: "9464", "PLAY_URL": "http://127.0.0.1:9464" if site == "PLAY_PORT" else ""})


def test_the_command_says_what_it_needs(counting):
    code = """
from django.core.management import CommandError, call_command
try:
    call_command("metrics")
except CommandError as error:
    print(error)
"""
    assert counting(code, METRICS_PORT="").startswith("METRICS_PORT is not set")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert counting(code, METRICS_PORT=str(port)) == f"METRICS_PORT {port} can't be used: Address already in use."
