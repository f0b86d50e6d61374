"""`skylift run -it` and `--forward` on a real server, from a terminal of their own."""

from __future__ import annotations

import fcntl
import http.client
import os
import signal
import struct
import subprocess
import termios
import urllib.request
from pathlib import Path

import pytest
from support.ports import quiet_port
from support.real_cloud import RealCloud
from support.real_server import until
from support.running_job import RunningJob, ended_job
from test_run_terminal import Terminal

pytestmark = pytest.mark.real

TALKS = """
import os, sys, time
name = input("name? ")
while name == "Ada" and os.get_terminal_size().columns == 80:
    time.sleep(0.02)
print("hello", name, os.get_terminal_size().columns, os.getcwd() == os.path.expanduser("~/job"))
try:
    input("wait ")
except KeyboardInterrupt:
    print("caught")
open("r.txt", "w").write(name)
sys.exit(7)
"""

SERVES = """
import http.server
server = http.server.HTTPServer(("127.0.0.1", 8000), http.server.SimpleHTTPRequestHandler)
print("ready", flush=True)
server.serve_forever()
"""


class Sitting(Terminal):
    """A terminal whose size and modes are looked at and changed from outside."""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def echoes(self) -> bool:
        """Whether it is as shells like it, not raw."""
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    @property
    def pid(self) -> int:
        return self._pid


@pytest.fixture
def free_port() -> int:
    return quiet_port()


def fetched(address: str) -> bytes | None:
    """Whoever knocks before SSH is there is sent away."""
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            content: bytes = answer.read()
            return content
    except (OSError, http.client.HTTPException):
        return None


@pytest.fixture
def folder(cloud: RealCloud, request: pytest.FixtureRequest) -> Path:
    found = cloud.work / str(request.node.name)
    found.mkdir()
    return found


def test_a_talk_with_the_program(cloud: RealCloud, folder: Path) -> None:
    seat = Sitting(cloud, folder, "-it", "--name", "sitting", "--out", "r.txt", source=TALKS)
    seat.read_until(b"name? ")
    assert not seat.echoes
    seat.resize(30, 90)
    seat.press(b"Ada\r")
    seat.read_until(b"True\r\nwait ")
    # What is told to all who are logged in is not for the program's own terminal, which is a file that comes home.
    cloud.skylift("ssh", "sitting", "sudo shutdown -k +5 to whom it may concern")
    seat.press(b"\x03")
    seat.read_until(b"caught")
    seat.read_until(b"Results")
    assert seat.echoes, "the terminal is the shell's again"
    assert seat.finish() == 7
    assert not any("concern" in line for line in seat.lines)
    shown = [line for line in seat.lines if line.startswith(("name?", "hello", "wait"))]
    assert shown == ["name? Ada", "hello Ada 90 True", "wait ^Ccaught"]
    assert (folder / "r.txt").read_text() == "Ada"


def test_a_client_that_dies_leaves_the_job_and_another_one_sits_down(cloud: RealCloud, folder: Path) -> None:
    seat = Sitting(cloud, folder, "-it", "--name", "talk", source=TALKS)
    seat.read_until(b"name? ")
    os.kill(seat.pid, signal.SIGKILL)
    seat.finish()
    second = Sitting(cloud, folder, words=("attach", "talk"))
    second.read_until(b"name? ")
    second.press(b"Bea\r")
    second.read_until(b"wait ")
    assert not second.echoes
    os.kill(second.pid, signal.SIGTERM)
    until(lambda: second.echoes, "the terminal to be as it was")
    assert second.finish() == -signal.SIGTERM
    again = Sitting(cloud, folder, words=("attach", "talk"))
    again.read_until(b"wait ")
    again.press(b"\r~.")
    again.read_until(b"Left running. `skylift attach talk`")
    # Enter was the program's, and so its end; `~.` was ours.
    again.finish()
    assert cloud.skylift("wait", "talk", check=False).returncode == 7
    assert ended_job(cloud, "talk") == ("failed", 7)
    log = cloud.skylift("logs", "talk").stdout
    assert "name? Bea\nhello Bea " in log
    cloud.skylift("rm", "talk")


def test_what_needs_somebody_who_stays(cloud: RealCloud, folder: Path) -> None:
    (folder / "job.py").write_text("pass")
    done = cloud.skylift("run", "-it", "job.py", cwd=folder, check=False)
    assert (done.returncode, "-it needs a terminal" in done.stderr) == (2, True)
    done = cloud.skylift("run", "-d", "--forward", "8000", "job.py", cwd=folder, check=False)
    assert (done.returncode, "--forward is for whoever watches" in done.stderr) == (2, True)


def test_a_port_leads_to_the_server(cloud: RealCloud, folder: Path, free_port: int) -> None:
    (folder / "page.txt").write_text("from the server")
    job = RunningJob(cloud, folder, "--in", "page.txt", "--forward", f"{free_port}:8000", source=SERVES)
    assert until(lambda: fetched(f"http://127.0.0.1:{free_port}/page.txt"), "the page") == b"from the server"
    assert f"localhost:{free_port} is forwarded to port 8000 of the server." in job.words
    busy = cloud.skylift("run", "--forward", str(free_port), "job.py", cwd=folder, check=False)
    assert busy.returncode == 2
    assert f"--forward {free_port}: the port is not available" in busy.stderr
    job.client.kill()
    job.client.wait()
    words = ("attach", "--forward", f"{free_port}:8000", job.name)
    client = cloud.popen(*words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert client.stdout is not None
    assert client.stdout.readline() == b"ready\n"
    assert b"http.server" in until(lambda: fetched(f"http://127.0.0.1:{free_port}/job.py"), "the program")
    cloud.skylift("cancel", job.name)
    assert client.wait() == 143
