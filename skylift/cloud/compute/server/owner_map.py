"""User namespaces: for a mount's file owners (MOUNT_ATTR_IDMAP of mount_setattr(2)), and for servers.

Making one takes a separate process, and more time than the mount.
"""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from skylift.cloud.state.program import own_environment

_LOCK = threading.Lock()
_MADE: dict[str, int] = {}


def owner_map(on_disk: int, seen: int, size: int, more: str = "") -> int:
    """The descriptor of a user namespace that shows ids from `on_disk` on as ids from `seen` on. It is cached by its
    ids while this process lives; callers do not close it. `more` are further lines. Raises OSError."""
    ids = f"{on_disk} {seen} {size}\n{more}"
    with _LOCK:
        if ids not in _MADE:
            _MADE[ids] = _make(ids)
        return _MADE[ids]


@contextmanager
def own_users(uid_base: int, size: int) -> Iterator[Callable[[], str]]:
    """Yields a function that returns the path of a server's user namespace, which lasts until the end of the block. The
    namespace is made in the background from the beginning of the block. Both raise OSError.

    The host uid of the server's root makes it. What the kernel limits for each user (inotify, message queues, pending
    signals, locked memory) is also counted for the namespace's maker. If the host's root made it, one server could use
    up the limits of the host and of all other servers.
    """
    as_owner = ["setpriv", f"--reuid={uid_base}", f"--regid={uid_base}", "--clear-groups"]
    # Some hosts demand this capability for it. The capability ends with that process.
    as_owner += ["--inh-caps=+sys_admin", "--ambient-caps=+sys_admin"]
    with ExitStack() as held:
        shell = held.enter_context(_begin(as_owner))

        def path() -> str:
            descriptor = _opened(shell, f"0 {uid_base} {size}\n")
            held.callback(os.close, descriptor)
            return f"/proc/{os.getpid()}/fd/{descriptor}"

        yield path


def _make(ids: str) -> int:
    with _begin() as shell:
        return _opened(shell, ids)


def _begin(as_owner: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """The shell writes once it is in the new namespace, and ends with its input."""
    command = [*as_owner, "unshare", "--user", "sh", "-c", "echo; read end"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=own_environment())


def _opened(shell: subprocess.Popen[bytes], ids: str) -> int:
    assert shell.stdout is not None and shell.stderr is not None
    if not shell.stdout.read(1):
        words = shell.stderr.read().decode(errors="replace").strip()
        raise OSError(errno.EPERM, words or "unshare --user ended without a word")
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{shell.pid}/{name}").write_text(ids)
    return os.open(f"/proc/{shell.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
