"""Whose cloud it is: the person who runs skylift, also when sudo has made root of them."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from skylift.cloud.durable import make_directory


@dataclass(frozen=True)
class Person:
    uid: int
    gid: int
    name: str
    home: Path

    def run_as(self) -> dict[str, object]:
        """Arguments for subprocess.run that make the command the caller's own, not root's."""
        if os.geteuid() != 0 or self.uid == 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": os.getgrouplist(self.name, self.gid)}

    def own(self, path: Path) -> None:
        """Hand a file that root has made to the caller."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def make_directory(self, path: Path, mode: int = 0o700) -> None:
        """Make a directory and its missing parents, all of them the caller's."""
        for directory in make_directory(path, mode):
            self.own(directory)


def calling_user(environment: Mapping[str, str] = os.environ) -> Person:
    """The user of this process or, for root under sudo, the one who called sudo."""
    uid = os.geteuid()
    if uid == 0 and environment.get("SUDO_UID", "").isdigit():
        uid = int(environment["SUDO_UID"])
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        # A container may run under a uid without an entry.
        return Person(uid, os.getegid(), str(uid), Path(environment.get("HOME", "/")))
    # A root login has its HOME; under sudo, HOME may be either one's.
    home = environment.get("HOME") if uid == os.geteuid() else None
    return Person(uid, entry.pw_gid, entry.pw_name, Path(home or entry.pw_dir))
