"""Whose the files of a mount are: a user namespace tells the kernel (MOUNT_ATTR_IDMAP of mount_setattr(2)).

To make one takes a process of its own, and longer than the mount. For the same ids it is the same one, so it is kept
for as long as this process lives.
"""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from pathlib import Path

from skylift.cloud.state.program import own_environment

_LOCK = threading.Lock()
_MADE: dict[tuple[int, int, int], int] = {}


def owner_map(on_disk: int, seen: int, size: int) -> int:
    """The descriptor of a user namespace by which ids from `on_disk` on are shown as those from `seen` on. It is kept
    here; nobody closes it. Raises OSError."""
    with _LOCK:
        if (on_disk, seen, size) not in _MADE:
            _MADE[on_disk, seen, size] = _make(f"{on_disk} {seen} {size}\n")
        return _MADE[on_disk, seen, size]


def _make(ids: str) -> int:
    # The shell writes once it is in the new namespace, and waits until it is held from here.
    command = ["unshare", "--user", "sh", "-c", "echo; read end"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=own_environment()) as shell:
        assert shell.stdout is not None and shell.stderr is not None
        if not shell.stdout.read(1):
            words = shell.stderr.read().decode(errors="replace").strip()
            raise OSError(errno.EPERM, words or "unshare --user ended without a word")
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{shell.pid}/{name}").write_text(ids)
        return os.open(f"/proc/{shell.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
