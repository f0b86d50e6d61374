"""Waits for programs that an earlier, killed process of this cloud has started.

They go on without it. If a start did the same again next to them, two runtimes would make one server, a mount would lie
on top of another, or two programs would grow one file system. So a start waits until they have ended.
"""

from __future__ import annotations

import logging
import os
import select
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

log = logging.getLogger(__name__)

PROGRAMS = {"runc", "crun", "conmon", "mount", "umount", "losetup", "e2fsck", "resize2fs"}
"""Programs that change what the next process looks at. Work under a temporary name needs no wait: it is deleted first.
"""

PATIENCE = 30.0
_LOOK_AGAIN = 20
"""Milliseconds: a program may begin another one before it ends, and a monitor does not end at all."""


def await_leftovers(places: Collection[Path], stopped: Callable[[], bool] = lambda: False) -> None:
    """Return when no program works on anything below these places, or when the caller is `stopped`."""
    deadline = time.monotonic() + PATIENCE
    waiting = False
    while (left := list(_at_work(places))) and not stopped():
        if not waiting:
            log.info("waiting for programs of an earlier process: %s", ", ".join(words[0] for _, words in left))
            waiting = True
        if time.monotonic() > deadline:
            for _, words in left:
                log.warning("a program of an earlier process still runs: %s", " ".join(words))
            return
        with ExitStack() as end:
            poll = select.poll()
            for pid, _ in left:
                try:
                    descriptor = os.pidfd_open(pid)
                except ProcessLookupError:
                    continue
                end.callback(os.close, descriptor)
                poll.register(descriptor, select.POLLIN)
            poll.poll(_LOOK_AGAIN)


def _at_work(places: Collection[Path]) -> Iterator[tuple[int, Sequence[str]]]:
    below = tuple(f"{place}/" for place in places)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        program = words[0].rpartition("/")[2]
        if program not in PROGRAMS or not any(word.startswith(below) for word in words):
            continue
        if program == "conmon" and _has_made_its_server(words):
            continue
        if program in ("runc", "crun") and _is_in_a_server(words):
            continue
        yield int(path.parent.name), words


def _is_in_a_server(runtime: Sequence[str]) -> bool:
    """It waits for a script (script.py), which may take days, and changes nothing of what servers are made of."""
    return "--root" in runtime and runtime[runtime.index("--root") + 2 :][:1] == ["exec"]


def _has_made_its_server(conmon: Sequence[str]) -> bool:
    """The runtime writes that file last. From then on conmon only watches, as long as the server is there."""
    return Path(conmon[conmon.index("--container-pidfile") + 1]).exists()
