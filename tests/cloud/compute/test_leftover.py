"""Stand-ins for the programs: shells that bear their names and end when their input does."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from skylift.cloud.compute import leftover
from skylift.cloud.compute.leftover import await_leftovers

Begin = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def begin() -> Iterator[Begin]:
    with ExitStack() as end:

        def program(name: str, *arguments: object) -> subprocess.Popen[bytes]:
            words = [name, "-c", "echo; read line", *map(str, arguments)]
            begun = subprocess.Popen(words, executable="/bin/sh", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            end.callback(begun.wait)
            end.callback(begun.kill)
            # Popen returns a moment before the kernel shows the new program's words.
            assert begun.stdout and begun.stdout.readline() == b"\n"
            return begun

        yield program


def waiting(*places: Path) -> threading.Thread:
    thread = threading.Thread(target=await_leftovers, args=(places,))
    thread.start()
    # One that does not wait would have ended by then, on any machine that is not at its end.
    thread.join(0.2)
    return thread


def over(thread: threading.Thread) -> bool:
    thread.join(leftover.PATIENCE)
    return not thread.is_alive()


@pytest.mark.parametrize("name", ["runc", "/usr/bin/crun", "umount", "/sbin/resize2fs"])
def test_a_program_at_work_is_waited_for(begin: Begin, tmp_path: Path, name: str) -> None:
    begun = begin(name, "--flag", tmp_path / "run/oci", "i-1")
    thread = waiting(tmp_path / "volumes", tmp_path / "run")
    assert thread.is_alive()
    begun.communicate()
    assert over(thread)


def test_a_monitor_is_waited_for_until_its_server_is_made(begin: Begin, tmp_path: Path) -> None:
    pid_file = tmp_path / "run/i-1/init.pid"
    begin("conmon", "--container-pidfile", pid_file)
    thread = waiting(tmp_path / "run")
    assert thread.is_alive()
    pid_file.parent.mkdir(parents=True)
    pid_file.write_text("1")
    assert over(thread)


def test_other_programs_and_other_clouds_are_not_waited_for(
    begin: Begin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begin("tail", tmp_path / "run/i-1/init.pid")
    begin("runc", "--root", tmp_path / "run2/oci")
    # Who waits for a script that runs in a server.
    begin("runc", "--root", tmp_path / "run/oci", "exec", "--cwd", "/", "i-1", "sleep", "3600")
    await_leftovers([tmp_path / "run"])
    assert not caplog.records


def test_one_that_never_ends_is_told_of(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(leftover, "PATIENCE", 0.0)
    begin("mount", tmp_path / "run/i-1/root")
    await_leftovers([tmp_path / "run"])
    assert "still runs: mount" in caplog.text


def test_who_waits_can_be_told_to_end(begin: Begin, tmp_path: Path) -> None:
    begin("runc", tmp_path / "run/oci")
    stopped = threading.Event()
    thread = threading.Thread(target=await_leftovers, args=([tmp_path / "run"], stopped.is_set))
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    stopped.set()
    assert over(thread)
