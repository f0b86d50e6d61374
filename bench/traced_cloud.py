"""The cloud's process under tracemalloc: on SIGUSR1 it adds what it holds to a file.

    python bench/traced_cloud.py FILE [arguments of skylift.cloud.main]

Of each look: what the allocator and SQLite have, how many objects of each type there are, the largest containers by who
refers to them, and the lines of code whose allocations have grown most since the look before.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import signal
import sys
import threading
import tracemalloc
from collections import Counter
from pathlib import Path

from skylift.cloud.main import main

FRAMES = 8
LINES = 25
TYPES = 30
CONTAINERS = 25


class _Mallinfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


class Trace:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._before: tracemalloc.Snapshot | None = None
        self._counts: Counter[str] = Counter()

    def look(self) -> None:
        gc.collect()
        report = [f"=== {threading.active_count()} threads; {_allocator()}; {_sqlite()}"]
        report += self._types()
        report += _containers()
        report += self._lines()
        with self._file.open("a") as file:
            file.write("\n".join(report) + "\n")

    def _types(self) -> list[str]:
        counts = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
        grown = Counter({name: number - self._counts[name] for name, number in counts.items()}).most_common(TYPES)
        self._counts = counts
        return ["objects, more than before:", *(f"  {more:+8} {counts[name]:8} {name}" for name, more in grown if more)]

    def _lines(self) -> list[str]:
        now = tracemalloc.take_snapshot().filter_traces(
            (tracemalloc.Filter(False, tracemalloc.__file__), tracemalloc.Filter(False, __file__))
        )
        before, self._before = self._before, now
        lines = [f"python: {sum(one.size for one in now.statistics('filename')) >> 10} KiB"]
        if before is None:
            return lines
        for one in now.compare_to(before, "traceback")[:LINES]:
            lines.append(f"  {one.size_diff / 1024:+9.1f} KiB {one.count_diff:+7} of {one.size >> 10} KiB")
            lines += [f"        {line}" for line in one.traceback.format()[-8:]]
        return lines


def _containers() -> list[str]:
    found = sorted((one for one in gc.get_objects() if isinstance(one, (dict, list, set))), key=len, reverse=True)[
        :CONTAINERS
    ]
    return ["largest containers:", *(f"  {len(one):8} {type(one).__name__} {_sample(one)}" for one in found)]


def _sample(container: dict[object, object] | list[object] | set[object]) -> str:
    return ", ".join(repr(one)[:40] for one, _ in zip(container, range(3), strict=False))


def _allocator() -> str:
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Mallinfo
    of = mallinfo()
    return (
        f"malloc: arenas {of.arena >> 10} KiB, mapped {of.hblkhd >> 10} KiB, used {of.uordblks >> 10} KiB, "
        f"free {of.fordblks >> 10} KiB"
    )


def _sqlite() -> str:
    name = ctypes.util.find_library("sqlite3")
    if name is None:
        return ""
    used = ctypes.CDLL(name).sqlite3_memory_used
    used.restype = ctypes.c_int64
    return f"sqlite: {used() >> 10} KiB"


if __name__ == "__main__":
    trace = Trace(Path(sys.argv[1]))
    tracemalloc.start(FRAMES)
    signal.signal(signal.SIGUSR1, lambda number, frame: trace.look())
    sys.exit(main(sys.argv[2:]))
