"""The process of a home's cloud, found by its claim of addresses: also where its data were deleted or moved."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from skylift.client.errors import UsageError
from skylift.cloud.state.home import Home
from skylift.cloud.state.person import person_of

MODULE = "skylift.cloud"
"""A cloud's process runs this module of Python's; `--home` follows it."""


def claimed_pid(home: Home) -> int | None:
    """The process of the cloud of this home, also of one that begins, ends, or has lost its data.

    Found by the claim of its addresses, which is in /run whatever becomes of its folders. The claim outlives the
    process: its number is believed only where root's process runs this program for this home. Anybody's may say so.
    """
    from skylift.cloud.compute.network.error import KernelRefused
    from skylift.cloud.compute.network.network import loopback_ranges

    try:
        claimed = loopback_ranges().find(home.path)
        if claimed is None:
            return None
        process = Path(f"/proc/{claimed.owner}")
        # Real, effective, saved, and of files: a program of root's that anybody may start is not root's process.
        is_root = "\nUid:\t0\t0\t0\t0\n" in (process / "status").read_text()
        words = (process / "cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
        option = words.index("--home")
    except (OSError, KernelRefused, ValueError):
        return None
    homes = [os.path.realpath(word) for word in words[option + 1 : option + 2]]
    runs_it = words[1] == "-I" and words[option - 1] == MODULE and homes == [claimed.home] and "--down" not in words
    return claimed.owner if is_root and runs_it else None


@dataclass(frozen=True)
class LostCloud:
    """A process that runs the cloud of a home, and whose lock is not where that home's is."""

    pid: int
    data: Path | None
    """Where its data are; None if they were deleted."""

    def require_deleted(self, home: Home) -> None:
        """Raises UsageError where its data are there, and not this home's."""
        if self.data is None:
            return
        uid = self.data.parent.name
        if not uid.isdigit():
            advice = f"Put them back to {home.data.path}, and take it down: skylift cloud down"
        elif int(uid) != home.owner.uid:
            name = person_of(int(uid)).name
            folder = f"install -d -o {name} {shlex.quote(str(home.path))}"
            where = (
                "root, without sudo" if name == "root" else f"{name}; or as root, once the folder is {name}'s: {folder}"
            )
            advice = f"Take it down as {where}"
        else:
            place = shlex.quote(str(self.data.parent.parent))
            advice = f"Take it down: SKYLIFT_DATA={place} skylift cloud down"
        raise UsageError(
            f"The cloud of {home.path} runs as process {self.pid}, with its data in {self.data}, and not in"
            f" {home.data.path}.",
            advice,
        )


def refuse_lost(home: Home) -> None:
    """Raises UsageError where a cloud runs without its data, whose addresses and servers a second one would take."""
    if (pid := lost_pid(home)) is not None:
        raise UsageError(
            f"The cloud in {home.path} runs as process {pid}, but its data in {home.data.path} were deleted.",
            "Take it down: skylift cloud down",
        )


def lost_pid(home: Home) -> int | None:
    """The process of a cloud that runs while its data were deleted. Raises UsageError where they are somewhere else."""
    lost = lost_cloud(home)
    if lost is None:
        return None
    lost.require_deleted(home)
    return lost.pid


def lost_cloud(home: Home) -> LostCloud | None:
    """For root. A cloud that begins is none: it locks this home's file before it has a claim."""
    pid = claimed_pid(home)
    if pid is None:
        return None
    lost = None
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            # Others may be closed meanwhile.
            with suppress(OSError):
                locked = descriptor.stat()
                if " FLOCK " not in Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text():
                    continue
                if _is_at(home.data.lock, locked):
                    return None
                if locked.st_nlink == 0:
                    lost = lost or LostCloud(pid, None)
                    continue
                path = descriptor.readlink()
                if path.name == home.data.lock.name and _is_at(path, locked):
                    lost = LostCloud(pid, path.parent)
    return lost


def _is_at(path: Path, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), found)
    except OSError:
        return False
