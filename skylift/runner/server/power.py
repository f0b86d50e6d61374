"""The server's end, which the operating system keeps to whatever becomes of this program."""

from __future__ import annotations

import shutil
import subprocess
import time

from skylift.runner.server.console import say

RESERVE = 120
"""Seconds before the deadline at which a server that could not deliver its results asks to be stopped."""
HOLD = 95
"""Seconds before the deadline at which nothing more is sent, and the server asks to be stopped with what is left: the
operating system's timer counts in minutes, and may come a minute early."""
LAST = 30
"""Seconds before the deadline at which nothing new is begun."""


def arm_timer(deadline: float) -> None:
    """Off at the deadline, by the operating system's own timer."""
    minutes = max(1, int((deadline - time.time()) // 60))
    try:
        # Not waited for: some systems' shutdown stays until its time has come.
        subprocess.Popen(["shutdown", "-P", "+%d" % minutes], stdin=subprocess.DEVNULL, start_new_session=True)
    except FileNotFoundError:
        say("this image has no `shutdown`: nothing but this program turns the server off")


def power_off() -> None:
    for command in (["shutdown", "-P", "now"], ["poweroff"]):
        if shutil.which(command[0]) and subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode == 0:
            return
