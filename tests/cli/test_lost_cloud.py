"""A cloud's process whose data are not where its home's are, and others that are not taken for one.

The process is a stand-in: it locks a file as a cloud does, and does nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from skylift.cli.running_jobs import RunningJobs
from skylift.client.errors import UsageError
from skylift.cloud.compute.network.loopback_range import LoopbackRanges
from skylift.cloud.state.home import Home
from skylift.cloud.state.program import own_python
from skylift.place.lost_cloud import LostCloud, lost_cloud

# What another process has open is seen by root only.
pytestmark = pytest.mark.real

STAND_IN = """
import fcntl, os, sys
fcntl.flock(os.open(os.environ["LOCK"], os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
os.setresuid(*3 * [int(os.environ["UID_OF_IT"])])
print("locked", flush=True)
sys.stdin.read()
"""

NOBODY = 65534

Run = Callable[..., int]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("SKYLIFT_DATA", str(tmp_path / "data"))
    ranges = LoopbackRanges(lambda number: False, tmp_path / "claims")
    monkeypatch.setattr("skylift.cloud.compute.network.network.loopback_ranges", lambda: ranges)
    home = Home(tmp_path / "home")
    for each in (home.path, home.data.path, tmp_path / "claims"):
        each.mkdir(parents=True)
    return home


@pytest.fixture
def run(home: Home, tmp_path: Path) -> Iterator[Run]:
    """Runs such a process, and claims the home's addresses for it."""
    package = tmp_path / "lib/skylift/cloud"
    package.mkdir(parents=True)
    (package / "__main__.py").write_text(STAND_IN)
    for each in (package.parent, package):
        (each / "__init__.py").touch()
    with ExitStack() as stack:

        def start(lock: Path, *, of: Path = home.path, uid: int = 0) -> int:
            *python, _, module = own_python("skylift.cloud")
            command = [*python, str(tmp_path / "lib"), module, "--home", str(of)]
            environment = {**os.environ, "LOCK": str(lock), "UID_OF_IT": str(uid)}
            process = stack.enter_context(
                subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            assert process.stdout is not None
            assert process.stdout.readline() == b"locked\n"
            (tmp_path / "claims/40").write_text(json.dumps({"home": str(home.path), "owner": process.pid}))
            return process.pid

        yield start


def test_a_cloud_that_begins_is_not_lost(run: Run, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its lock and its addresses, and has not yet said where it is."""
    run(home.data.lock)
    assert home.running_pid() is None
    assert lost_cloud(home) is None
    assert not RunningJobs(home)
    monkeypatch.setenv("SKYLIFT_DATA", f"{home.path}/../data")
    assert ".." in home.data.path.parts
    assert lost_cloud(home) is None


@pytest.mark.parametrize("made_anew", [False, True])
def test_a_cloud_whose_lock_was_deleted_is_lost(run: Run, home: Home, made_anew: bool) -> None:
    pid = run(home.data.lock)
    home.data.lock.unlink()
    if made_anew:
        home.data.lock.touch()
    assert lost_cloud(home) == LostCloud(pid, None)


def test_a_cloud_with_other_data_is_lost_and_said_to_be_there(run: Run, home: Home, tmp_path: Path) -> None:
    other = tmp_path / "other" / str(home.owner.uid) / "default"
    other.mkdir(parents=True)
    pid = run(other / "cloud.lock")
    lost = lost_cloud(home)
    assert lost == LostCloud(pid, other)
    with pytest.raises(UsageError, match=f"runs as process {pid}, with its data in {other}") as refused:
        lost.require_deleted(home)
    assert f"SKYLIFT_DATA={tmp_path}/other skylift cloud down" in str(refused.value.advice)


def test_data_that_were_moved_are_to_be_put_back(run: Run, home: Home, tmp_path: Path) -> None:
    run(home.data.lock)
    home.data.path.rename(tmp_path / "moved")
    lost = lost_cloud(home)
    assert lost is not None and lost.data == tmp_path / "moved"
    with pytest.raises(UsageError) as refused:
        lost.require_deleted(home)
    assert f"Put them back to {home.data.path}" in str(refused.value.advice)


def test_jobs_of_a_lost_cloud_are_not_taken_for_none(run: Run, home: Home) -> None:
    pid = run(home.data.lock)
    home.data.lock.unlink()
    jobs = RunningJobs(home)
    assert jobs
    with pytest.raises(UsageError, match=f"runs as process {pid}, and its data are not in {home.data.path}"):
        jobs.agree()


@pytest.mark.parametrize("of_whom", ["another user's", "another home's"])
def test_a_process_with_the_number_of_an_old_claim_is_not_lost(
    run: Run, home: Home, tmp_path: Path, of_whom: str
) -> None:
    lock = tmp_path / "cloud.lock"
    if of_whom == "another home's":
        run(lock, of=tmp_path / "other")
    else:
        run(lock, uid=NOBODY)
    assert lost_cloud(home) is None
    lock.unlink()
    assert lost_cloud(home) is None
    assert not RunningJobs(home)
