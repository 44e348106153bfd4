"""What all processes of this folder have counted: read from their files, and kept when they are gone.

The counts of a process that ended are added to what was kept of those before it, once, and its files go. So nothing
counts backwards, whoever dies, and nothing grows with the processes there have ever been. What a gauge says goes with
its process.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import struct
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import product
from pathlib import Path

from prometheus_client import Metric, mmap_dict, utils

from pools import clock
from pools.meters import FILE_BYTES, LIVE, METERS, Histogram, Meter, identity

logger = logging.getLogger(__name__)

Values = dict[str, float]  # by the key of a value: JSON of the names of metric and sample, and of the labels
# The library's own, which have no types.
as_text: Callable[[float], str] = utils.floatToGoString
read_file: Callable[[Path], Iterable[tuple[str, float, float, int]]] = mmap_dict.MmapedDict.read_all_values_from_file
KEPT = "kept.json"
LOCK = "lock"
GAUGES = "gauge_livesum"


def totals(folder: Path) -> Values:
    """The values of all processes together, those that are gone included."""
    if not folder.is_dir():
        return {}
    with _locked(folder):
        kept, counted_in = _read_kept(folder)
        there = _names(folder)
        _remove(folder, there & counted_in)
        there -= counted_in
        gone = {name for name in there if not is_alive(folder, name)}
        if gone:
            kept_now = _sum(kept, *(_values(folder, name, but=GAUGES) for name in gone))
            with suppress(OSError):  # on a full disk they are read as they are, until there is room
                _write_kept(folder, kept_now, gone)
                _remove(folder, gone)
                kept, there, gone = kept_now, there - gone, set()
        live = [_values(folder, name) for name in there - gone]
        return _sum(kept, *(_values(folder, name, but=GAUGES) for name in gone), *live)


def keep_folded(folder: Path, every_seconds: float) -> None:
    """Put away what processes that ended have counted, for ever: whether anybody asks or not."""
    while True:
        clock.sleep(every_seconds)
        try:
            totals(folder)
        except Exception:
            logger.exception("What ended processes have counted is not put away.")


def families(values: Mapping[str, float]) -> Iterator[Metric]:
    """The same as the library's metrics: every meter with each value of its labels, whether it was counted or not."""
    by_meter: defaultdict[str, dict[tuple[str, tuple[str, ...]], float]] = defaultdict(dict)
    for key, value in values.items():
        name, sample, labels = json.loads(key)
        meter = METERS.get(name) or METERS.get(f"{name}_total")
        if meter is not None and _is_declared(meter, labels):
            of_sample = tuple(labels[label] for label in meter.labels)
            by_meter[meter.name][sample, (*of_sample, *([labels["le"]] if "le" in labels else []))] = value
    for meter in METERS.values():
        yield _family(meter, by_meter[meter.name])


def is_alive(folder: Path, name: str) -> bool:
    """Whether the process whose files have that name holds its lock."""
    if name == identity.name and identity.pid == os.getpid():
        return True  # to open its file here and close it would let go of the lock
    try:
        with (folder / f"{LIVE}{name}").open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _is_declared(meter: Meter, labels: Mapping[str, str]) -> bool:
    """Not what another version of ours has left: other labels, or other buckets."""
    is_whole = labels.keys() - {"le"} == set(meter.labels)
    return is_whole and ("le" not in labels or (isinstance(meter, Histogram) and labels["le"] in _edges(meter)))


def _edges(meter: Histogram) -> list[str]:
    """The upper bounds of its buckets, as the library writes them."""
    return [as_text(bound) for bound in (*meter.buckets, float("inf"))]


def _family(meter: Meter, found: Mapping[tuple[str, tuple[str, ...]], float]) -> Metric:
    family = Metric(meter.name.removesuffix("_total"), meter.text, meter.kind)
    names = list(meter.labels)
    told = {labels[: len(names)] for _, labels in found}
    for values in sorted({*product(*meter.labels.values()), *told}):
        labels = dict(zip(names, values, strict=True))
        if not isinstance(meter, Histogram):
            family.add_sample(meter.name, labels, found.get((meter.name, values), 0.0))
            continue
        count = 0.0
        for edge in _edges(meter):
            count += found.get((f"{meter.name}_bucket", (*values, edge)), 0.0)
            family.add_sample(f"{meter.name}_bucket", {**labels, "le": edge}, count)
        family.add_sample(f"{meter.name}_count", labels, count)
        family.add_sample(f"{meter.name}_sum", labels, found.get((f"{meter.name}_sum", values), 0.0))
    return family


# Files.


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / LOCK).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _names(folder: Path) -> set[str]:
    return {path.stem.rpartition("_")[2] for path in folder.glob("*_*.db")}


def _values(folder: Path, name: str, but: str = "") -> Values:
    found: Values = {}
    for prefix in FILE_BYTES:
        # A file that is being made is shorter than it says, or empty.
        with suppress(FileNotFoundError, struct.error, RuntimeError):
            if prefix != but:
                read = read_file(folder / f"{prefix}_{name}.db")
                found |= {_key(key): value for key, value, *_ in read}
    return found


@lru_cache(maxsize=10_000)
def _key(of_library: str) -> str:
    """Without the metric's help, which is in the library's key: two releases may say it in other words."""
    return json.dumps(json.loads(of_library)[:3], sort_keys=True)


def _sum(*all_values: Mapping[str, float]) -> Values:
    """In whole millionths: seconds, as fractions, add up to a little less in another order, and a process that ends
    changes the order."""
    total: defaultdict[str, int] = defaultdict(int)
    for values in all_values:
        for key, value in values.items():
            total[key] += round(value * 1_000_000)
    return {key: millionths / 1_000_000 for key, millionths in total.items()}


def _read_kept(folder: Path) -> tuple[Values, set[str]]:
    """What was kept, and whose files the last addition to it was of: if they are still there, they count no more."""
    try:
        kept = json.loads((folder / KEPT).read_text())
        return _sum(*({_key(key): value} for key, value in kept["values"].items())), set(kept["last"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}, set()


def _write_kept(folder: Path, values: Values, last: Collection[str]) -> None:
    new = folder / f"{KEPT}.new"
    new.write_text(json.dumps({"values": values, "last": sorted(last)}))
    new.replace(folder / KEPT)


def _remove(folder: Path, names: Collection[str]) -> None:
    for name in names:
        for prefix in (*(f"{prefix}_{name}.db" for prefix in FILE_BYTES), f"{LIVE}{name}"):
            (folder / prefix).unlink(missing_ok=True)
