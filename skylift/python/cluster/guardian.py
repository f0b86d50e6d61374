"""A process that takes a cluster down when the process that made it has gone without closing it.

    python -m skylift.python.cluster.guardian PARENT NAME GROUP ON

It is a process of its own beside the cluster's, and does nothing as long as that one lives. Where it ends too, as with
a machine that loses power, the cluster's servers end by themselves (client/dask/node.py), and `skylift sweep` finds the
rest.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import suppress

from skylift.client.errors import SkyliftError
from skylift.client.jobs.cluster import TakeDown, members_of
from skylift.client.remote.account import open_account
from skylift.place.settings import settings_for
from skylift.python.watching import log


class Guardian:
    def __init__(self, name: str, group: str, on: str | None) -> None:
        words = [str(os.getpid()), name, group, on or ""]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "skylift.python.cluster.guardian", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Ctrl-C is for the cluster's process.
            start_new_session=True,
        )

    def dismiss(self) -> None:
        self._process.kill()
        self._process.wait()


def guard(parent: int, name: str, group: str, on: str | None) -> None:
    _await_end(parent)
    # Where the cloud of this machine is down, the servers are too.
    with suppress(SkyliftError):
        account = open_account(settings_for(on, start=False))
        TakeDown(account, log.warning).whole(name, group, members_of(account, name, group))


def _await_end(parent: int) -> None:
    with suppress(ProcessLookupError):
        watched = os.pidfd_open(parent)
        if os.getppid() == parent:
            select.select([watched], [], [])


if __name__ == "__main__":
    guard(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4] or None)
