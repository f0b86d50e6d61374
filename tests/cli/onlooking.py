"""A run without a run: a screen, a keyboard, and a program that says little. For tests that have a terminal for it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

from skylift.cli.screen import Live, Outlet, make_screen
from skylift.cli.terminal import open_display
from skylift.client.watch.monitor import RunningProgram


async def watch(words: list[str]) -> int:
    over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    screen = make_screen(Outlet(1, 2), quiet="quiet" in words, json=False)
    display = open_display(screen, interactive=False, hint="~. leaves")
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: screen.info("interrupted"))
    loop.add_signal_handler(signal.SIGUSR1, lambda: over.set_result(0))
    if display.keyboard is not None:
        display.keyboard.look(lambda: over.set_result(7))
    screen.begin("program")
    if isinstance(screen, Live):
        screen.runs(RunningProgram(time.time(), time.time(), 3600, 0.02, charged=False))
    screen.output("stdout", f"pid {os.getpid()}\n".encode())
    try:
        return await over
    finally:
        if display.keyboard is not None:
            display.keyboard.close()
        screen.finish()


if __name__ == "__main__":
    code = asyncio.run(watch(sys.argv[1:]))
    print("ended", flush=True)
    sys.exit(code)
