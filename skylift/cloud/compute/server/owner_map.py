"""User namespaces: whose the files of a mount are (MOUNT_ATTR_IDMAP of mount_setattr(2)), and the servers' own.

To make one takes a process of its own, and longer than the mount.
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
    """The descriptor of a user namespace by which ids from `on_disk` on are shown as those from `seen` on. It is kept
    here, for the same ids as long as this process lives; nobody closes it. `more` are further lines. Raises OSError."""
    ids = f"{on_disk} {seen} {size}\n{more}"
    with _LOCK:
        if ids not in _MADE:
            _MADE[ids] = _make(ids)
        return _MADE[ids]


@contextmanager
def own_users(uid_base: int, size: int) -> Iterator[Callable[[], str]]:
    """Gives the path, for other processes and until the end of the block, of a user namespace for a server. It is being
    made from the beginning of the block on, beside other work. Both raise OSError.

    It is made by the server's own root, as the host knows that. What the kernel counts for each user (inotify, queues
    of messages, pending signals, locked memory) it counts for who has made the namespace as well: for the host's root,
    one server would take it from the host and from all others.
    """
    as_owner = ["setpriv", f"--reuid={uid_base}", f"--regid={uid_base}", "--clear-groups"]
    # Some hosts let only who has this capability make one. It ends with that process.
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
