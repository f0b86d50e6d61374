"""Turning the server off. The operating system's own timer does it even if this program dies."""

from __future__ import annotations

import shutil
import subprocess
import time

from skylift.agent.machine.console import say

RESERVE = 120
"""Seconds before the deadline at which a server that could not deliver its results asks to be stopped."""
HOLD = 95
"""Seconds before the deadline at which nothing more is sent, and the server asks to be stopped with the rest on its
disk. The operating system's timer counts in minutes and may fire a minute early."""
LAST = 30
"""Seconds before the deadline after which nothing new begins."""


def arm_timer(deadline: float) -> None:
    """Have the operating system turn the server off at the deadline."""
    minutes = max(1, int((deadline - time.time()) // 60))
    try:
        # Not waited for: on some systems `shutdown` runs until its time has come.
        subprocess.Popen(["shutdown", "-P", "+%d" % minutes], stdin=subprocess.DEVNULL, start_new_session=True)
    except FileNotFoundError:
        say("this image has no `shutdown`: nothing but this program turns the server off")


def power_off() -> None:
    for command in (["shutdown", "-P", "now"], ["poweroff"]):
        if shutil.which(command[0]) and subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode == 0:
            return
