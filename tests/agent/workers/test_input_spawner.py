"""The processes of a map's inputs, as they are: whatever one leaves is gone when it has ended."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Takes {"argv"} a line, and hands out the answers; "close N" closes one that runs.
SERVER = """
import json, os, sys
from skylift.agent.workers.input_spawner import Spawner

spawner, running = Spawner(), {}
print(json.dumps({"spawner": spawner.pid}), flush=True)
for line in sys.stdin:
    what = json.loads(line)
    if "close" in what:
        for each in running.pop(what["close"]):
            each.close()
        continue
    given = {"cwd": os.getcwd(), "env": dict(os.environ), "umask": 0o22, "identity": {}, **what}
    control = spawner.start(given, 1 if what.get("shown") else os.open("out", os.O_WRONLY | os.O_CREAT), 2)
    lines = control.makefile("r")
    first = json.loads(lines.readline())
    print(json.dumps(first), flush=True)
    if what.get("wait", True) and "pid" in first:
        print(lines.readline().strip() or "{}", flush=True)
    running[first.get("pid")] = lines, control
spawner.close()
"""


class Server:
    def __init__(self, folder: Path, first: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", first + SERVER], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.spawner = self.answer()["spawner"]

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def tell(self, **what: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def python(self, source: str, **more: Any) -> dict[str, Any]:
        self.tell(argv=[sys.executable, "-c", textwrap.dedent(source)], **more)
        return self.answer()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path)
    yield found
    found.process.kill()
    found.process.communicate()


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def await_end(pid: int) -> None:
    until = time.monotonic() + 30
    while runs(pid):
        assert time.monotonic() < until, f"{pid} still runs"
        time.sleep(0.01)


# Has a child that has left its session and lost its parent; says its pid.
LEAVES = """
    import os, sys, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open("left", "w").write(str(os.getpid()))
            os.rename("left", "there")
            time.sleep(600)
        os._exit(0)
    while not os.path.exists("there"):
        time.sleep(0.01)
"""


def test_its_end_is_told_as_it_was(server: Server) -> None:
    server.python("import sys; sys.exit(7)")
    told = server.answer()
    assert told["code"] == 7
    assert told["seconds"] > 0
    server.python("import os; os.kill(os.getpid(), 9)")
    assert server.answer()["code"] == -9
    server.tell(argv=["/no/such/program"])
    assert server.answer() == {"errno": 2, "path": "/no/such/program"}


def test_what_it_leaves_behind_is_gone_when_its_end_is_told(server: Server, tmp_path: Path) -> None:
    server.python(LEAVES)
    assert server.answer()["code"] == 0
    assert not runs(int((tmp_path / "there").read_text()))


def test_it_ends_with_all_it_has_started_when_nobody_waits_any_more(server: Server, tmp_path: Path) -> None:
    source = LEAVES + "\n    print('x'); open('ready', 'w'); time.sleep(600)"
    pid = server.python(source, wait=False)["pid"]
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    server.tell(close=pid)
    await_end(pid)
    await_end(int((tmp_path / "there").read_text()))


def test_all_end_when_the_server_is_killed(server: Server, tmp_path: Path) -> None:
    source = LEAVES + "\n    open('ready', 'w'); time.sleep(600)"
    pid = server.python(source, wait=False)["pid"]
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    server.process.kill()
    await_end(pid)
    await_end(int((tmp_path / "there").read_text()))
    await_end(server.spawner)


def test_a_helper_that_is_killed_takes_the_program_along(server: Server) -> None:
    pid = server.python("import time; time.sleep(600)", wait=False)["pid"]
    helper = parent_of(pid)
    os.kill(helper, signal.SIGKILL)
    await_end(pid)
    server.python("pass")
    assert server.answer()["code"] == 0


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


# Says whose child it is.
PARENT = "import os; open(f'parent-{os.getpid()}', 'w').write(str(os.getppid()))"


def test_a_helper_that_is_idle_has_the_next_one_and_one_that_was_killed_has_none(
    server: Server, tmp_path: Path
) -> None:
    helpers = []
    for _ in range(3):
        pid = server.python(PARENT)["pid"]
        assert server.answer()["code"] == 0
        helpers.append(int((tmp_path / f"parent-{pid}").read_text()))
    assert len(set(helpers)) == 1
    os.kill(helpers[0], signal.SIGKILL)
    await_end(helpers[0])
    pid = server.python(PARENT)["pid"]
    assert server.answer()["code"] == 0
    assert int((tmp_path / f"parent-{pid}").read_text()) != helpers[0]


def test_one_that_nobody_waits_for_does_not_keep_its_helper_from_the_next_one(server: Server) -> None:
    first = server.python("import time; time.sleep(600)", wait=False)["pid"]
    second = server.python("import time; time.sleep(600)", wait=False)["pid"]
    assert parent_of(first) != parent_of(second)
    helper = parent_of(first)
    server.tell(close=first)
    await_end(first)
    assert runs(helper)
    assert runs(second)
    for _ in range(3):
        server.python("pass")
        assert server.answer()["code"] == 0


def test_signals_of_the_group_are_the_servers_business(server: Server) -> None:
    """A cancelled job's whole group gets one; the spawner must still be there to end what runs."""
    os.kill(server.spawner, signal.SIGTERM)
    server.python("pass")
    assert server.answer()["code"] == 0


# The spawner gets a signal before it can have done anything.
STRUCK = """
import signal, subprocess

class Struck(subprocess.Popen):
    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        self.send_signal(signal.SIGTERM)

subprocess.Popen = Struck
"""


def test_a_signal_in_the_moment_in_which_the_spawner_begins(tmp_path: Path) -> None:
    server = Server(tmp_path, STRUCK)
    server.python("pass")
    assert server.answer()["code"] == 0
    server.process.kill()
    server.process.communicate()


def test_a_program_has_the_signals_that_any_has(server: Server) -> None:
    """Helpers do nothing on them, and programs are executed by helpers."""
    server.python("import signal, sys; sys.exit(signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL)")
    assert server.answer()["code"] == 0
    server.python("import signal, sys; sys.exit(len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))")
    assert server.answer()["code"] == 0


def test_what_a_helper_leaves_that_is_killed_is_gone_though_nothing_else_runs(server: Server, tmp_path: Path) -> None:
    source = LEAVES + "\n    os.rename('there', 'known'); time.sleep(600)"
    pid = server.python(source, wait=False)["pid"]
    while not (tmp_path / "known").exists():
        time.sleep(0.01)
    os.kill(parent_of(pid), signal.SIGKILL)
    await_end(pid)
    await_end(int((tmp_path / "known").read_text()))


def test_a_spawner_that_was_killed_has_a_successor_and_ends_nothing_that_runs(server: Server, tmp_path: Path) -> None:
    source = "import os, time, sys\nwhile not os.path.exists('go'):\n    time.sleep(0.01)\nsys.exit(7)"
    server.tell(argv=[sys.executable, "-c", source])
    pid = server.answer()["pid"]
    os.kill(server.spawner, signal.SIGKILL)
    await_end(server.spawner)
    assert runs(pid)
    (tmp_path / "go").touch()
    assert server.answer()["code"] == 7
    for _ in range(3):
        server.python("pass")
        assert server.answer()["code"] == 0


def test_a_server_without_room_for_another_process_says_so_and_goes_on(server: Server) -> None:
    server.python("import time; time.sleep(600)", wait=False)
    before = resource.prlimit(server.spawner, resource.RLIMIT_NOFILE)
    # Its own three, the socket of requests, and the link to the helper: it closes what came with the request.
    while len(taken := {int(each) for each in os.listdir(f"/proc/{server.spawner}/fd")}) > 5:
        time.sleep(0.01)
    # Room for a request, and for no helper.
    free = [each for each in range(20) if each not in taken]
    resource.prlimit(server.spawner, resource.RLIMIT_NOFILE, (free[3] + 1, before[1]))
    assert server.python("pass") == {"errno": errno.EMFILE, "path": "a process for it"}
    resource.prlimit(server.spawner, resource.RLIMIT_NOFILE, before)
    server.python("pass")
    assert server.answer()["code"] == 0


def test_a_program_has_the_limit_of_descriptors_that_any_has(server: Server) -> None:
    """Its helper may have more."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    source = f"import resource, sys; sys.exit(resource.getrlimit(resource.RLIMIT_NOFILE)[0] != {soft})"
    for _ in range(2):
        server.python(source)
        assert server.answer()["code"] == 0
    os.kill(server.spawner, signal.SIGKILL)
    await_end(server.spawner)
    server.python(source)
    assert server.answer()["code"] == 0
