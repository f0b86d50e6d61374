"""`skylift cloud` with a real cloud: up, found, killed, up again, down with nothing left."""

from __future__ import annotations

import json
import os
import pwd
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from support.kernel_traces import traces
from support.ports import quiet_port

from skylift.cloud.state.home import Home

pytestmark = pytest.mark.real

Skylift = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path, image_home: Home) -> Home:
    home = Home(tmp_path / "home")
    home.path.mkdir()
    return home


@pytest.fixture
def skylift(home: Home, tmp_path: Path) -> Iterator[Skylift]:
    """The command, with a state directory and AWS files of its own; what it started is taken down at the end."""
    environment = {
        **os.environ,
        "SKYLIFT_HOME": str(home.path),
        "AWS_CONFIG_FILE": str(tmp_path / "aws/config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "aws/credentials"),
    }

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "skylift.cli.main", *arguments]
        how: dict[str, Any] = {"stdin": subprocess.DEVNULL, "env": {**environment, **more}, "umask": 0o077}
        return subprocess.run(command, capture_output=True, text=True, check=False, **how)

    yield run
    # Also where a test has deleted the folders: the cloud's process and its network are still there.
    done = run("cloud", "down", "--erase", "--yes")
    assert done.returncode == 0, done.stderr
    assert not home.data.path.exists()


def status(skylift: Skylift) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(skylift("cloud", "status", "--json").stdout)
    return found


def kill_and_wait(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    assert select.select([descriptor], [], [], 120)[0]
    os.close(descriptor)


def alive(pid: int) -> bool:
    """Whether it runs; one that has ended may wait for its parent to take note of it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_up_is_ready_when_it_returns_and_down_leaves_nothing(skylift: Skylift, home: Home) -> None:
    done = skylift("cloud", "up")
    assert done.returncode == 0, done.stderr
    assert "is now up at http://127.0.0.1:" in done.stdout
    facts = status(skylift)
    assert facts["running"]
    key = home.root_key()
    assert key is not None
    sts = boto3.client(
        "sts",
        endpoint_url=facts["url"],
        region_name=facts["region"],
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret_access_key,
    )
    assert sts.get_caller_identity()["Account"] == facts["account"]
    assert (home.path / "credentials.json").stat().st_mode & 0o777 == 0o600
    # Root's, and read by the user, also where sudo has taken over a strict umask.
    assert (home.data.path / "cloud.json").stat().st_mode & 0o777 == 0o644

    again = skylift("cloud", "up")
    assert (again.returncode, "is up at" in again.stdout) == (0, True)
    assert status(skylift)["pid"] == facts["pid"]
    assert skylift("setup").stdout.startswith("Ready: the cloud is up at")

    assert skylift("cloud", "env", "--profile", "lift").returncode == 0
    environment = {"AWS_CONFIG_FILE": str(home.path.parent / "aws/config"), "PATH": os.environ["PATH"]}
    environment["AWS_SHARED_CREDENTIALS_FILE"] = str(home.path.parent / "aws/credentials")
    code = "import boto3; print(boto3.Session(profile_name='lift').client('sts').get_caller_identity()['Account'])"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert asked.stdout.strip() == facts["account"]

    down = skylift("cloud", "down")
    assert (down.returncode, down.stdout, down.stderr) == (0, "The cloud is down.\n", "")
    assert status(skylift)["running"] is False
    assert not alive(facts["pid"])
    assert not (home.path.parent / "aws/config").exists()
    assert traces(int(facts["loopback"].split(".")[1]), home.path) == []
    assert skylift("cloud", "down").returncode == 0


def test_a_killed_cloud_is_down_and_comes_back_the_same(skylift: Skylift, home: Home) -> None:
    # The default port would be anybody's while the cloud is away.
    skylift("cloud", "up", "--port", str(quiet_port()))
    before = status(skylift)
    kill_and_wait(before["pid"])
    assert status(skylift)["running"] is False
    assert skylift("cloud", "up").returncode == 0
    after = status(skylift)
    assert after["pid"] != before["pid"]
    assert {name: after[name] for name in ("url", "account", "loopback")} == {
        name: before[name] for name in ("url", "account", "loopback")
    }


def test_what_a_cloud_without_data_has_left_is_taken_away(skylift: Skylift, home: Home) -> None:
    """Somebody has killed it, and deleted what it had on disk by hand."""
    skylift("cloud", "up", "--port", str(quiet_port()))
    facts = status(skylift)
    kill_and_wait(facts["pid"])
    number = int(facts["loopback"].split(".")[1])
    assert traces(number, home.path)
    shutil.rmtree(home.data.path)
    done = skylift("cloud", "down")
    assert (done.returncode, done.stdout, done.stderr) == (0, "The cloud is down.\n", "")
    assert traces(number, home.path) == []


def test_a_cloud_whose_folders_were_deleted_is_found_while_it_runs(skylift: Skylift, home: Home) -> None:
    skylift("cloud", "up", "--port", str(quiet_port()))
    facts = status(skylift)
    pid, number = facts["pid"], int(facts["loopback"].split(".")[1])
    shutil.rmtree(home.path)
    data = home.data.path
    nobody = pwd.getpwnam("nobody")
    # As under sudo: without the folder nobody knows that it was another one's.
    theirs = {"SUDO_UID": str(nobody.pw_uid), "SUDO_GID": str(nobody.pw_gid), "SUDO_USER": nobody.pw_name}
    refused = skylift("cloud", "down", "--erase", "--yes", **theirs)
    assert refused.returncode == 2, refused.stderr
    assert f"runs as process {pid}, with its data in {data}" in refused.stderr
    assert "Take it down as root" in refused.stderr
    assert alive(pid)
    # Other tests of this run have folders of other users there.
    assert not (data.parents[1] / str(nobody.pw_uid)).exists()
    shutil.rmtree(data)
    again = skylift("cloud", "up")
    assert (again.returncode, f"process {pid}" in again.stderr, "skylift cloud down" in again.stderr) == (2, True, True)
    asked = skylift("cloud", "down")
    assert (asked.returncode, f"it runs as process {pid}, and its data are not in {data}" in asked.stderr) == (2, True)
    assert alive(pid)
    done = skylift("cloud", "down", "--erase", "--yes")
    assert (done.returncode, done.stdout) == (0, "The cloud is down, and its data is gone.\n"), done.stderr
    assert not alive(pid)
    assert traces(number, home.path) == []
    assert not data.exists()


def test_a_down_that_was_killed_is_finished_by_the_next_command(skylift: Skylift, home: Home) -> None:
    """An erase ends between two steps: the link to the host has gone, and other parts of the network are there, but the
    data have not been touched."""
    skylift("cloud", "up", "--port", str(quiet_port()))
    facts = status(skylift)
    number = int(facts["loopback"].split(".")[1])
    kill_and_wait(facts["pid"])
    command = [sys.executable, "-m", "skylift.cloud", "--home", str(home.path), "--down", "--erase"]
    link = Path(f"/sys/class/net/sky{number}")
    with subprocess.Popen(command) as down:
        while link.exists() and down.poll() is None:
            pass
        down.kill()
    done = skylift("cloud", "up")
    assert done.returncode == 0, done.stderr
    again = status(skylift)
    done = skylift("cloud", "down", "--erase", "--yes")
    assert done.returncode == 0, done.stderr
    assert traces(number, home.path) == traces(int(again["loopback"].split(".")[1]), home.path) == []


def test_two_ups_at_once_make_one_cloud(skylift: Skylift, home: Home) -> None:
    environment = {**os.environ, "SKYLIFT_HOME": str(home.path)}
    command = [sys.executable, "-m", "skylift.cli.main", "cloud", "up"]
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert status(skylift)["running"]


def test_a_taken_port_is_refused_before_anything_is_started(skylift: Skylift, home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = skylift("cloud", "up", "--port", str(port))
    assert done.returncode == 2
    assert f"Port {port}" in done.stderr
    assert not home.data.database.exists()


def test_a_port_that_another_program_has_since_is_told(skylift: Skylift) -> None:
    """Tools that were pointed there would talk to that program."""
    port = quiet_port()
    assert "It was at" not in skylift("cloud", "up", "--port", str(port)).stdout
    assert skylift("cloud", "down").returncode == 0
    with socket.create_server(("127.0.0.1", port)):
        again = skylift("cloud", "up")
    assert again.returncode == 0
    assert f"It was at http://127.0.0.1:{port}, which another program has now." in again.stdout


def test_a_port_is_taken_as_asked_and_kept(skylift: Skylift) -> None:
    port = quiet_port()
    assert skylift("cloud", "up", "--port", str(port)).returncode == 0
    assert status(skylift)["url"] == f"http://127.0.0.1:{port}"
    other = skylift("cloud", "up", "--port", str(port + 1 if port < 65535 else port - 1))
    assert other.returncode == 2
    assert "was up already" in other.stderr


def test_the_state_of_a_newer_version_is_refused(skylift: Skylift, home: Home) -> None:
    home.data.make()
    with sqlite3.connect(home.data.database) as connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()
    done = skylift("cloud", "up")
    assert done.returncode == 2
    assert "9999" in done.stderr
    assert "Traceback" not in done.stderr
    assert status(skylift)["running"] is False


def test_a_state_directory_that_takes_no_writes_is_refused(skylift: Skylift, home: Home, tmp_path: Path) -> None:
    subprocess.run(["mount", "--bind", str(home.path), str(home.path)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(home.path)], check=True)
        done = skylift("cloud", "up")
    finally:
        subprocess.run(["umount", str(home.path)], check=True)
    assert done.returncode == 2
    assert "SKYLIFT_HOME" in done.stderr
    assert "Traceback" not in done.stderr
