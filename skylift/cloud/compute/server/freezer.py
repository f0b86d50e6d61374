"""Freezes and thaws all processes of a control group, by cgroup v1's freezer or version 2's.

The kernel needs as long as its slowest process does to come to a place where it can stand still: on a machine with
much to do that is longer than a runtime's own `pause` waits.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from skylift.cloud.compute.error import ComputeError
from skylift.cloud.compute.server import cgroup

PATIENCE = 5.0
"""Seconds in which every process must stand still. A process that waits for a device without an answer never does."""
LOOK = 0.002
"""Seconds between two looks: version 1 reports no end, and notices it only when it is read."""


class FreezeError(ComputeError):
    """A group could not be made to stand still; it goes on."""


@dataclass(frozen=True)
class _Files:
    """One version's files of a group. `order` takes a word; `frozen` is in `answer` when all stand still."""

    order: Path
    freeze: str
    thaw: str
    answer: Path
    frozen: str


def freeze(name: str) -> None:
    """Freezes the group and the groups below it, and returns once every process stands still.

    Raises FreezeError if the group is gone, or, after thawing it, if that takes longer than PATIENCE.
    """
    try:
        files = _files(name)
        files.order.write_text(files.freeze)
        deadline = time.monotonic() + PATIENCE
        while files.frozen not in files.answer.read_text().splitlines():
            if time.monotonic() > deadline:
                files.order.write_text(files.thaw)
                raise FreezeError(f"{name}: not every process was frozen within {PATIENCE:g} s")
            time.sleep(LOOK)
    except OSError as error:
        raise FreezeError(f"{name}: {error}") from error


def thaw(name: str) -> None:
    """Lets them go on. Does nothing if the group is not frozen. Raises FreezeError if the group is gone."""
    try:
        files = _files(name)
        files.order.write_text(files.thaw)
    except OSError as error:
        raise FreezeError(f"{name}: {error}") from error


def _files(name: str) -> _Files:
    """Raises FileNotFoundError when there is no such group."""
    groups = [hierarchy / name for hierarchy in cgroup.hierarchies()]
    for group in groups:
        if (state := group / "freezer.state").exists():
            return _Files(state, "FROZEN", "THAWED", state, "FROZEN")
    for group in groups:
        if (order := group / "cgroup.freeze").exists():
            return _Files(order, "1", "0", group / "cgroup.events", "frozen 1")
    raise FileNotFoundError(f"there is no group {name} with a freezer")
