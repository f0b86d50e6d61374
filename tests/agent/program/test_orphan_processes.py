"""What a program leaves running is ended before its results are sent, however it has left it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.agent_bench import Machine, those_in
from support.shipped_job import Shipped

# As a daemon: a session of its own, and nobody's child.
CHURNS = """
import os, signal, sys, time
os.makedirs("out", exist_ok=True)
for number in range(40):
    open(f"out/{number}.txt", "w").write("x" * 1000)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    open("churning", "w").close()
    number = 0
    while True:
        number += 1
        open(f"out/tmp-{number}.txt", "w").write("x" * 100_000)
        os.unlink(f"out/tmp-{number}.txt")
while not os.path.exists("churning"):
    time.sleep(0.01)
sys.exit(7)
"""


def test_a_daemon_that_churns_temporary_files(shipped: Shipped, machine: Machine, tmp_path: Path) -> None:
    status = shipped.run(CHURNS, outputs=["out"])
    assert (status["state"], status["exit_code"]) == ("failed", 7)
    found = shipped.bring_home(tmp_path / "home")
    assert {f"out/{number}.txt" for number in range(40)} <= set(found)
    assert those_in(machine.root) == []
    assert shipped.manifest().missing == ()


WATCHES = """
import ctypes, glob, os, subprocess, sys, time
from skylift.agent.program.orphan_processes import LeftRunning

# As the keeper is: orphans come to us.
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
job = f"left-running-{os.getpid()}"
env = {**os.environ, "SKYLIFT_JOB": job}
program = subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=env, stdout=subprocess.PIPE, start_new_session=True)
other = subprocess.Popen(["sleep", "600"])
assert program.stdout.readline() == b"up\\n"
left = LeftRunning(os.getpid(), os.geteuid(), job, whole_machine=False)
began = time.monotonic()
left.end(float(sys.argv[2]))
seconds = round(time.monotonic() - began)
found = set()
for _ in range(20):
    # Of each thread: the first one may have ended.
    for each in glob.glob("/proc/[0-9]*/task/*/environ"):
        try:
            with open(each, "rb") as environ:
                if f"SKYLIFT_JOB={job}".encode() in environ.read().split(b"\\0"):
                    found.add(each)
        except OSError:
            continue
print(sorted(found), other.poll(), seconds)
other.kill()
"""
# Each is one of several that leave the next one behind; should nobody end them, they do.
FLEES = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
until = time.monotonic() + 40
for _ in range(6):
    if os.fork() == 0:
        while time.monotonic() < until:
            time.sleep(0.02)
            if os.fork():
                os._exit(0)
            os.setsid()
        os._exit(0)
os.write(1, b"up\\n")
"""
DEAF = "import signal, os\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.write(1, b'up\\n')\nsignal.pause()"
STOPPED = "import signal, os\nos.write(1, b'up\\n')\nos.kill(os.getpid(), signal.SIGSTOP)"
# Its first thread has ended, and another one goes on.
HEADLESS = """
import ctypes, os, threading, time

def go_on():
    while open(f"/proc/{os.getpid()}/stat").read().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    os.write(1, b"up\\n")
    time.sleep(40)

threading.Thread(target=go_on).start()
ctypes.CDLL(None).pthread_exit(None)
"""
LISTENS = "import signal, os\nos.write(1, b'up\\n')\nsignal.pause()"

# As on a machine with very many processes: one look takes longer than all of them together may.
SLOW_LOOKS = """
import time
from skylift.agent.program import orphan_processes
from skylift.agent.program.orphan_processes import LeftRunning

orphan_processes._KILLING = 0.1
look = LeftRunning._look

def slowly(self, number, signalled):
    found = look(self, number, signalled)
    if number != 9:
        time.sleep(0.2)
    return found

LeftRunning._look = slowly
"""


@pytest.mark.parametrize(
    ("program", "grace"),
    [(FLEES, 0.1), (DEAF, 0.5), (STOPPED, 0.5), (LISTENS, 60), (HEADLESS, 60)],
    ids=["forks all the time", "deaf", "stopped", "listens", "without its first thread"],
)
def test_however_it_runs(program: str, grace: float) -> None:
    assert seconds_of(WATCHES, program, grace) < 30


def test_what_was_killed_a_moment_ago_is_looked_for_once_more() -> None:
    """It was said that it could not be ended."""
    assert seconds_of(SLOW_LOOKS + WATCHES, DEAF, 0.1) < 30


def seconds_of(watches: str, program: str, grace: float) -> int:
    """How long it takes to end the program. All of it ends, and nothing else, and nothing is said."""
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", watches, program, str(grace)],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found, other, seconds = done.stdout.rsplit(None, 2)
    assert (found, other) == ("[]", "None"), done.stderr
    return int(seconds)
