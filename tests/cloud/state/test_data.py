"""Root's data: below directories that are root's all the way, and what its user may see of it."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from skylift.cloud.state.data import PLACE, Data, Endpoint, EndpointUnreadable, NotRoots, is_root_path, open_for_user
from skylift.cloud.state.home import Home, default_home

SOMEBODY = pwd.getpwnam("nobody")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that is root's all the way."""
    chosen = Path(os.environ["SKYLIFT_DATA"]) / f"of-{os.getpid()}"
    yield chosen
    shutil.rmtree(chosen, ignore_errors=True)


def test_the_usual_home_is_the_default_and_another_one_has_a_name_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SKYLIFT_DATA", "SKYLIFT_HOME", "XDG_DATA_HOME", "SUDO_UID"):
        monkeypatch.delenv(name, raising=False)
    entry = pwd.getpwuid(os.geteuid())
    monkeypatch.setenv("HOME", entry.pw_dir)
    assert default_home().data.path == PLACE / str(entry.pw_uid) / "default"
    first, second = Home(tmp_path / "one").data.path, Home(tmp_path / "two").data.path
    assert first != second
    assert first.parent == PLACE / str(entry.pw_uid)
    assert Home(tmp_path / "one").data.images == Home(tmp_path / "two").data.images == PLACE / "images"
    (tmp_path / "link").symlink_to(tmp_path / "one")
    assert Home(tmp_path / "link").data.path == first


def test_a_user_that_no_list_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container under any id: there is a place all the same, and whoever cannot write to it is told so."""

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    for name in ("SKYLIFT_HOME", "XDG_DATA_HOME", "SUDO_UID", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert default_home().path == Path("/.local/share/skylift")


@pytest.mark.real
def test_under_sudo_it_is_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever sudo does to HOME, the user's own process and root's come to the same directory."""
    monkeypatch.delenv("SKYLIFT_DATA")
    monkeypatch.setenv("SUDO_UID", str(SOMEBODY.pw_uid))
    for home in ("/root", SOMEBODY.pw_dir, str(tmp_path)):
        monkeypatch.setenv("HOME", home)
        usual = Home(Path(SOMEBODY.pw_dir) / ".local/share/skylift")
        assert usual.data.path == PLACE / str(SOMEBODY.pw_uid) / "default"


@pytest.mark.real
def test_what_is_made_is_roots_alone(place: Path) -> None:
    data = Data(place / "1000" / "default")
    before = os.umask(0o077)
    try:
        data.make()
    finally:
        os.umask(before)
    modes = {each.name: each.stat().st_mode & 0o777 for each in data.path.iterdir()}
    assert set(modes.values()) == {0o700}
    assert [each.stat().st_mode & 0o777 for each in (place, data.path.parent, data.path, data.images)] == [0o711] * 4
    assert is_root_path(data.path)
    data.make()


@pytest.mark.real
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_directory_that_others_can_change_is_refused(place: Path, depth: int) -> None:
    data = Data(place / "1000" / "default")
    data.make()
    spoiled = [place, data.path.parent, data.path][depth]
    for mode in (0o777, 0o1777, 0o775):
        spoiled.chmod(mode)
        with pytest.raises(NotRoots, match=f"{spoiled} can be written to by others"):
            data.make()
        assert not is_root_path(data.path)
    spoiled.chmod(0o755)
    os.chown(spoiled, SOMEBODY.pw_uid, 0)
    with pytest.raises(NotRoots, match=f"{spoiled} belongs to the user with the id"):
        data.make()


@pytest.mark.real
@pytest.mark.parametrize("name", ["objects", "captures", "instances", "volumes", "snapshots"])
def test_a_link_on_the_way_is_refused(place: Path, tmp_path: Path, name: str) -> None:
    data = Data(place / "1000" / "default")
    data.make()
    (data.path / name).rmdir()
    (data.path / name).symlink_to(tmp_path)
    with pytest.raises(NotRoots, match=f"{name} is a link"):
        data.make()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_the_log_is_read_by_its_user_and_by_nobody_else(place: Path, tmp_path: Path) -> None:
    data = Data(place / "1000" / "default")
    data.make()
    with os.fdopen(open_for_user(data.log, SOMEBODY.pw_uid), "w") as log:
        log.write("a word")

    def attempt(command: str, user: int, group: int) -> int:
        return subprocess.run(
            ["sh", "-c", command, "sh", data.log],
            user=user,
            group=group,
            extra_groups=[],
            capture_output=True,
            check=False,
        ).returncode

    theirs = SOMEBODY.pw_uid, SOMEBODY.pw_gid
    assert attempt('grep -qx "a word" "$1"', *theirs) == 0
    assert attempt('echo more >>"$1"', *theirs) != 0
    assert attempt('rm -f "$1"', *theirs) != 0
    assert attempt('cat "$1"', 54321, SOMEBODY.pw_gid) != 0
    data.log.unlink()
    data.log.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        open_for_user(data.log, SOMEBODY.pw_uid)
    assert not (tmp_path / "elsewhere").exists()


HOLDS_MANY_LOCKS = """
import fcntl, sys, time
files = [open(f"{sys.argv[1]}.{number}", "w") for number in range(300)]
while True:
    for file in files:
        fcntl.flock(file, fcntl.LOCK_EX)
    print(flush=True)
    time.sleep(0.002)
    for file in files:
        fcntl.flock(file, fcntl.LOCK_UN)
"""


def test_a_cloud_is_found_among_many_locks_that_come_and_go(tmp_path: Path) -> None:
    data = Data(tmp_path)
    data.write_endpoint(Endpoint("http://127.0.0.1:1", "us-east-1", "1" * 12, os.getpid(), "1", "127.9.0.0"))
    assert data.running_pid() is None
    with ExitStack() as end:
        lock = end.enter_context(data.lock.open("w"))
        assert data.running_pid() is None
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in ("one", "two"):
            command = [sys.executable, "-c", HOLDS_MANY_LOCKS, str(tmp_path / name)]
            others = end.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            end.callback(others.kill)
            assert others.stdout is not None
            assert others.stdout.readline() == b"\n"
        assert {data.running_pid() for _ in range(3000)} == {os.getpid()}
    assert data.running_pid() is None


def test_an_unreadable_address_counts_only_while_somebody_holds_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Data(tmp_path)
    data.write_endpoint(Endpoint("http://127.0.0.1:1", "us-east-1", "1" * 12, os.getpid(), "1", "127.9.0.0"))
    read = Path.read_text

    def refuse(self: Path) -> str:
        """Root, which the tests may be, reads whatever its mode is."""
        if self.name == "cloud.json":
            raise PermissionError(13, "Permission denied", str(self))
        return read(self)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert data.running_pid() is None
    with data.lock.open("w") as lock:
        assert data.running_pid() is None
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EndpointUnreadable, match=str(tmp_path / "cloud.json")):
            data.running_pid()


@pytest.mark.real
def test_what_is_shown_to_the_user_is_no_file_behind_a_link(place: Path, tmp_path: Path) -> None:
    data = Data(place / "1000" / "default")
    data.make()
    (tmp_path / "secret").touch(mode=0o600)
    (data.path / "open.json").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match=r"open\.json"):
        data.show_to_user()
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
