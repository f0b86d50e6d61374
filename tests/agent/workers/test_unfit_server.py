"""A map's server that can run no input now: its disk is full, or it has no descriptor left."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from test_input_run import Case

from skylift.agent.workers import fitness
from skylift.agent.workers.fitness import Fitness, ServerUnfit
from skylift.client.map.task import run_inputs


class Disk:
    """A small one, with what inputs run in, and a root's folders for temporary files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.down = folder, threading.Event()
        (folder / "runs").mkdir()
        (folder / "root/tmp").mkdir(parents=True)
        self.fitness = Fitness(folder / "runs", folder / "root", os.geteuid(), self.down)

    def no_names(self, folder: Path) -> None:
        """Nothing can be added, though what is there can grow."""
        folder.mkdir()
        with suppress(OSError):
            for number in range(1000):
                (folder / str(number)).touch()

    def fill(self, path: Path) -> None:
        with suppress(OSError), path.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    monkeypatch.setattr(fitness, "ROOM", 1 << 20)
    monkeypatch.setattr(fitness, "_HOLDING", 0.2)
    monkeypatch.setattr(fitness, "_LOOKING", 0.05)
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=256", "tmpfs", str(place)], check=True)
    yield Disk(place)
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def case(disk: Disk, tmp_path: Path) -> Iterator[Case]:
    found = Case(tmp_path / "map")
    found.runs = disk.folder / "runs"
    yield found
    found.close()


@pytest.mark.real
def test_an_input_that_finds_a_full_disk_has_no_outcome_and_runs_when_there_is_room(case: Case, disk: Disk) -> None:
    ballast = disk.folder / "ballast"
    with pytest.raises(ServerUnfit, match=r"^No space left on device$"), disk.fitness.one_input():
        disk.no_names(ballast)
        case.run("pass")
    with pytest.raises(ServerUnfit, match=r"^No space left on device$"), disk.fitness.one_input():
        pass
    shutil.rmtree(ballast)
    with disk.fitness.one_input():
        assert case.run("print('runs')").stdout.content == b"runs\n"


@pytest.mark.real
def test_a_full_tmp_in_memory_is_emptied_when_no_input_runs(disk: Disk, tmp_path: Path) -> None:
    """The disk has room all the while."""
    place = tmp_path / "disk/root/tmp"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=True)
    try:
        with disk.fitness.one_input():
            disk.fill(place / "left")
            with pytest.raises(ServerUnfit, match=r"^No space left on device$"), disk.fitness.one_input():
                pass
        with disk.fitness.one_input():
            (place / "room").write_bytes(bytes(1 << 20))
        # What is not the inputs' own keeps none from running.
        os.chown(place / "room", 4_000_000, -1)
        disk.fill(place / "left")
        with disk.fitness.one_input():
            assert [each.name for each in place.iterdir()] == ["room"]
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.real
def test_what_ended_inputs_have_left_goes_when_none_runs(case: Case, disk: Disk) -> None:
    left, mine = disk.folder / "root/tmp/left", disk.folder / "root/tmp/others"
    left.mkdir()
    mine.write_text("of another user")
    os.chown(mine, 4_000_000, -1)
    secret = disk.folder / "secret"
    secret.mkdir()
    (secret / "kept").touch()
    (left / "link").symlink_to(secret)
    (disk.folder / "root/tmp/link").symlink_to(secret)
    with pytest.raises(ServerUnfit), disk.fitness.one_input():
        disk.fill(left / "large")
        (disk.folder / "runs/more").write_bytes(bytes(4096))
    entered, go = threading.Event(), threading.Event()

    def another() -> None:
        with disk.fitness.one_input():
            entered.set()
            go.wait()

    # One that runs already may use what is there.
    disk.fitness._running += 1
    with pytest.raises(ServerUnfit), disk.fitness.one_input():
        pass
    assert left.exists()
    disk.fitness._running -= 1
    thread = threading.Thread(target=another)
    thread.start()
    assert entered.wait(30)
    go.set()
    thread.join()
    assert [each.name for each in (disk.folder / "root/tmp").iterdir()] == ["others"]
    assert (secret / "kept").exists()
    (disk.folder / "runs/more").unlink()


@pytest.mark.real
def test_a_server_that_goes_down_holds_nobody_up(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitness, "_HOLDING", 3600)
    with pytest.raises(ServerUnfit), disk.fitness.one_input():
        disk.fill(disk.folder / "ballast")
        raise OSError(errno.ENOSPC, "No space left on device")
    disk.down.set()
    with pytest.raises(ServerUnfit), disk.fitness.one_input():
        pass


def test_a_server_without_descriptors_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp/cache").touch()
    fit = Fitness(tmp_path, tmp_path, os.geteuid(), threading.Event())
    with pytest.raises(ServerUnfit, match="Too many open files"), fit.one_input():
        raise OSError(errno.EMFILE, "Too many open files")
    with fit.one_input():
        assert (tmp_path / "tmp/cache").exists()


def test_an_error_of_the_input_itself_is_no_error_of_the_server(tmp_path: Path) -> None:
    fit = Fitness(tmp_path, tmp_path, os.geteuid(), threading.Event())
    with pytest.raises(PermissionError), fit.one_input():
        raise PermissionError(errno.EACCES, "Permission denied")
    with fit.one_input():
        pass


@contextmanager
def no_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_coordinator_without_descriptors_has_lost_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYLIFT_MAP_SOCKET", str(tmp_path / "sock"))
    with no_descriptors():
        (told,) = run_inputs({"inputs": [{"index": 0}]})
    assert "Too many open files" in told["unfit"]


def test_what_has_ended_before_a_server_is_unfit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYLIFT_MAP_SOCKET", str(tmp_path / "sock"))
    answers = [{"outcome": {"index": 0}}, {"unfit": "i-0a: No space left on device"}]
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "sock"))
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"".join(json.dumps(each).encode() + b"\n" for each in answers))

        thread = threading.Thread(target=serve)
        thread.start()
        assert run_inputs({"inputs": [{"index": each} for each in range(3)]}) == [{"index": 0}, answers[1]]
        thread.join()
