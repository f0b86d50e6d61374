"""Servers under a runtime that is a shell script: what is asked of it, and what becomes of its refusals."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue

import pytest

from skylift.cloud.compute.server import server
from skylift.cloud.compute.server.oci import ServerPlan
from skylift.cloud.compute.server.server import Programs, RuntimeRefused, Servers

RUNTIME = """\
#!/bin/sh
# --root STATE COMMAND ...
here=$(dirname "$0")
shift 2
case $1 in
    list) cat "$here/list" ;;
    start) echo start >>"$here/asked" ;;
    kill)
        echo "$3" >>"$here/asked"
        [ ! -e "$here/$3" ] || . "$here/$3"
        ;;
esac
"""


class Runtime:
    """One server, whose init is a process of the test's."""

    def __init__(self, place: Path, end: ExitStack) -> None:
        self._place = place
        self._end = end
        self.init = subprocess.Popen(["sleep", "60"])
        end.callback(self.init.wait)
        end.callback(self.init.kill)
        program = place / "runc"
        program.write_text(RUNTIME)
        program.chmod(0o755)
        self._say([{"id": "i-1", "pid": self.init.pid, "status": "running"}])
        self.servers = Servers(
            place / "run/1", place / "disks", "group", Programs(str(program), "/nowhere"), lambda *_: None
        )
        end.callback(self.servers.close)

    def _say(self, servers: list[dict[str, object]]) -> None:
        (self._place / "list").write_text(json.dumps(servers))

    def on(self, number: str, *lines: str) -> None:
        """What happens when the server is sent this signal."""
        (self._place / number).write_text("\n".join([f"cd {self._place}", *lines, ""]))

    @property
    def asked(self) -> list[str]:
        file = self._place / "asked"
        return file.read_text().split() if file.exists() else []

    def made(self, init: str, *, of_runc: bool = True) -> Path:
        """A server that was made and not started, whose init is this script. Answers the pipe that it may write to."""
        state, bundle = self._place / "run/1/oci/i-2", self._place / "run/1/i-2"
        for directory in (state, bundle):
            directory.mkdir()
        pipe = state / "exec.fifo"
        os.mkfifo(pipe)
        if of_runc:
            (state / "state.json").touch()
        self.waiting = subprocess.Popen(["sh", "-c", init, "init", str(pipe)])
        self._end.callback(self.waiting.wait)
        self._end.callback(self.waiting.kill)
        (bundle / "pid").write_text(str(self.waiting.pid))
        return pipe


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    monkeypatch.setattr(server.cgroup, "remove", lambda group: None)
    monkeypatch.setattr(server, "ASK_AGAIN", 0.01)
    with ExitStack() as end:
        yield Runtime(tmp_path, end)


GONE = "echo null >list"


def test_a_server_that_does_not_hear_is_asked_again(runtime: Runtime) -> None:
    runtime.on("PWR", f"[ $(grep -c PWR asked) -lt 3 ] || {GONE}")
    runtime.servers.remove_all(grace=60)
    assert runtime.asked == ["PWR"] * 3


def test_one_that_never_hears_loses_its_plug(runtime: Runtime) -> None:
    runtime.on("KILL", GONE)
    runtime.servers.remove_all(grace=0.05)
    assert runtime.asked[-1] == "KILL"


def test_a_server_of_runcs_is_started_without_runc(runtime: Runtime) -> None:
    """As runc does it: reads what init writes once somebody listens, and removes the pipe, which means that it runs."""
    pipe = runtime.made('printf 0 >"$1" && exec sleep 60')
    runtime.servers.start("i-2")
    assert not pipe.exists() and runtime.asked == []
    assert runtime.waiting.poll() is None


@pytest.mark.parametrize("init", ["exit 0", 'exec 3>"$1"; exit 0'])
def test_why_an_init_that_has_ended_cannot_be_started_says_the_runtime(runtime: Runtime, init: str) -> None:
    pipe = runtime.made(init)
    runtime.servers.start("i-2")
    assert pipe.exists() and runtime.asked == ["start"]


def test_another_runtimes_server_is_started_by_that(runtime: Runtime) -> None:
    pipe = runtime.made('exec cat "$1"', of_runc=False)
    runtime.servers.start("i-2")
    assert pipe.exists() and runtime.asked == ["start"]


@pytest.mark.parametrize("number", ["PWR", "KILL"])
def test_one_that_ends_as_it_is_asked_is_no_error(runtime: Runtime, number: str) -> None:
    runtime.on(number, GONE, "exit 1")
    runtime.servers.remove_all(grace=60 if number == "PWR" else 0)
    assert runtime.asked == [number]


def test_a_refusal_to_end_one_that_runs_is_an_error(runtime: Runtime) -> None:
    runtime.on("KILL", "exit 1")
    with pytest.raises(RuntimeRefused):
        runtime.servers.remove_all(grace=0)


def open_files() -> set[tuple[str, str]]:
    found = set()
    for each in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.add((each, where(f"/proc/self/fd/{each}")))
    return found


def where(descriptor: str) -> str:
    try:
        return os.readlink(descriptor)
    except OSError as error:
        # Tests of deep trees in this process may have folders open whose paths are longer than the kernel tells.
        if error.errno != errno.ENAMETOOLONG:
            raise
        return "a deep folder"


def test_a_monitor_that_cannot_start_leaves_nothing_open(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own: in this one other threads open files and close them."""
    monkeypatch.setattr(Servers, "_furnish", lambda *_: None)
    plan = ServerPlan("i-2", tmp_path, tmp_path, 1_000_000_000, "host", 1, 1 << 30)
    said = tmp_path / "said"
    said.write_text("nothing")
    child = os.fork()
    if child == 0:
        try:
            before = open_files()
            with pytest.raises(RuntimeRefused, match="ended without a word"):
                runtime.servers.create(plan, ())
            said.write_text(f"left open: {sorted(open_files() - before)}")
        except BaseException:
            said.write_text(traceback.format_exc())
            raise
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert said.read_text() == "left open: []"


def test_an_end_that_cannot_be_told_does_not_keep_others_from_being_told(tmp_path: Path) -> None:
    ends: SimpleQueue[tuple[str, int | None]] = SimpleQueue()

    def told(server_id: str, code: int | None) -> None:
        if server_id == "i-1":
            raise RuntimeError("can't start new thread")
        ends.put((server_id, code))

    servers = Servers(tmp_path / "run/1", tmp_path / "disks", "group", Programs("", ""), told)
    # Nobody can read how this one has ended.
    (tmp_path / "run/1/exits/i-2").mkdir()
    for server_id in ("i-1", "i-2"):
        init = subprocess.Popen(["sleep", "60"])
        assert servers._watch.add(server_id, init.pid)
        init.kill()
        init.wait()
    assert ends.get(timeout=30) == ("i-2", None)
    servers.close()


def test_a_file_that_goes_while_its_directory_is_removed_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """conmon ends a moment after its server, and takes its socket away."""
    place = tmp_path / "i-1"
    place.mkdir()
    for name in ("attach", "ctl", "winsz"):
        (place / name).touch()
    remove, gone = os.unlink, []

    def unlink(name: str, **how: int) -> None:
        if not gone:
            gone.append(name)
            remove(name, **how)
        remove(name, **how)

    monkeypatch.setattr(os, "unlink", unlink)
    server._remove_tree(place)
    assert len(gone) == 1 and not place.exists()
