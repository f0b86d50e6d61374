"""Stands beside a test's cloud and takes it away when the test was killed before it could.

usage: cloud_guard.py DIRECTORY, with the cloud's environment. Standard input has the pid of each client of the cloud, a
line each, and at last `done`; if it ends without that, whoever wrote to it is no more.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path


def main() -> None:
    base = Path(sys.argv[1])
    *clients, last = sys.stdin.read().splitlines() or [""]
    if last == "done":
        return
    for pid in [*clients, last]:
        # A client of a cloud that is not there would start it again.
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            if str(base) in Path(f"/proc/{int(pid)}/environ").read_text(errors="replace"):
                os.kill(int(pid), signal.SIGKILL)
    # What is wrong is said where it stays: nobody else is left who would hear it.
    with (base / "guard.log").open("wb") as log:
        command = [sys.executable, "-m", "skylift.cli.main", "cloud", "down", "--erase", "--yes"]
        subprocess.run(command, check=True, stdout=log, stderr=log)
    shutil.rmtree(base)


if __name__ == "__main__":
    main()
