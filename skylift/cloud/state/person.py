"""The user who owns the cloud, also after sudo has made them root.

Files in that person's directories are read and written with the person's rights, never with root's. Any of their
programs may put a link there at any moment; it must lead only to files that they could read or write themselves.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from skylift.cloud.state.durable import make_directory
from skylift.cloud.state.rootless import rootless

T = TypeVar("T")

_SETGROUPS = {"x86_64": 116, "aarch64": 159}
_CAPABILITY_VERSION = 0x20080522


@dataclass(frozen=True)
class Person:
    uid: int
    gid: int
    name: str
    home: Path

    def groups(self) -> list[int]:
        return os.getgrouplist(self.name, self.gid)

    def run_as(self) -> dict[str, object]:
        """Arguments for subprocess.run that make the command the caller's own, not root's."""
        if os.geteuid() != 0 or self.uid == 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": self.groups()}

    def act(self, deed: Callable[[], T]) -> T:
        """Do something with this person's rights to files, in a process that may be root's. New files are theirs.

        It runs in a thread that has given up root's rights to files and ends with this call; other threads keep them.
        The thread's user id stays root's otherwise, so that the person can neither signal nor trace the process.
        """
        if os.geteuid() != 0 or self.uid == 0:
            return deed()

        def without_root() -> T:
            _give_up_root(self)
            return deed()

        with ThreadPoolExecutor(1) as alone:
            return alone.submit(without_root).result()

    def own(self, path: Path) -> None:
        """Gives the caller a file that root has made, in a directory where nobody else could replace it."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def make_directory(self, path: Path, mode: int = 0o700) -> None:
        """Make a directory and its missing parents, all of them the caller's."""
        self.act(lambda: make_directory(path, mode))


def calling_user(environment: Mapping[str, str] = os.environ) -> Person:
    """The user of this process or, for root under sudo, the user who called sudo."""
    uid = os.geteuid()
    # Without root, these namespaces are the user's alone. SUDO_UID may be an administrator who became the user.
    if uid == 0 and environment.get("SUDO_UID", "").isdigit() and not rootless():
        uid = int(environment["SUDO_UID"])
    known = person_of(uid)
    # A root login has its HOME; under sudo, HOME may be either one's.
    home = environment.get("HOME") if uid == os.geteuid() else None
    return replace(known, home=Path(home)) if home else known


def person_of(uid: int) -> Person:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        # A container may run under a uid without an entry.
        return Person(uid, os.getegid() if uid == os.geteuid() else uid, str(uid), Path("/"))
    return Person(uid, entry.pw_gid, entry.pw_name, Path(entry.pw_dir))


def _give_up_root(person: Person) -> None:
    """Give up root in this thread alone: libc's own calls would change every thread of the process, these are the
    kernel's."""
    libc = ctypes.CDLL(None, use_errno=True)
    groups = person.groups()
    number = _SETGROUPS[os.uname().machine]
    _succeed(libc.syscall(number, len(groups), (ctypes.c_uint32 * len(groups))(*groups)), "setgroups")
    # These two answer the id that was there before; asked for an impossible one, they change nothing.
    for name, wanted in (("setfsgid", person.gid), ("setfsuid", person.uid)):
        change = getattr(libc, name)
        change(wanted)
        _succeed(0 if change(-1) == wanted else -1, name)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    _succeed(libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def _succeed(answer: int, call: str) -> None:
    if answer != 0:
        raise PermissionError(ctypes.get_errno(), f"{call}: root's rights could not be given up")
