"""`skylift cluster`: what is refused, and how one process keeps a cluster that others find."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import skylift.cli.cluster
from skylift.cli.cluster import _tell_end
from skylift.cli.main import perform
from skylift.client.dask.authority import issue
from skylift.client.errors import JobNotFound, RunError, UsageError
from skylift.client.job.outcome import Outcome
from skylift.contract.states import State
from skylift.python.cluster.client_files import write_client_files
from skylift.python.cluster.held import HeldCluster, find_held, hold


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKYLIFT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Made:
    """As much of a cluster as its keeper needs."""

    name = "one"

    def environ(self, folder: Path) -> dict[str, str]:
        identity = issue(self.name, ("client",), time.time(), time.time() + 60)["client"]
        return {"DASK_SCHEDULER_ADDRESS": "tls://127.0.0.1:1", **write_client_files(folder, identity)}


MADE: Any = Made()


@pytest.mark.parametrize("servers", ["", "x", "-1", "0", "0..0", "1..101", "1...2", "1,2", "1..", "٣", "1\n"])
def test_a_number_of_servers_that_is_none(servers: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert perform(["cluster", "up", f"--servers={servers}"]) == 2
    assert "is not a number of servers." in capfd.readouterr().err


def test_limits_that_are_the_wrong_way_round(capfd: pytest.CaptureFixture[str]) -> None:
    assert perform(["cluster", "up", "--servers=3..2"]) == 2
    told = capfd.readouterr().err
    assert "--servers 3..2: the least is more than the most." in told
    assert "Meant as 2..3?" in told


@pytest.mark.parametrize("name", ["one", "../one", "One", "", "a" * 80])
@pytest.mark.parametrize("words", [("scale", "3"), ("env",)])
def test_a_cluster_that_nobody_keeps(name: str, words: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    assert perform(["cluster", words[0], name, *words[1:]]) == 2
    assert "is kept on this machine." in capfd.readouterr().err


def refused(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    """What `up` says, which has started nothing."""
    assert perform(["cluster", "up", "--on", "nowhere", *words]) == 2
    error = capfd.readouterr().err
    assert "Starting" not in error
    return error


def test_what_is_refused_before_a_cluster_is_started(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Not even the place is asked for: there is none of that name."""
    for command in ("no-such-command", "./nothing", str(home), ""):
        assert "There is no command" in refused(capfd, "--", command)
    for name in ("../one", "Upper", "a" * 34, "/tmp", "."):
        assert "cannot be used" in refused(capfd, "--name", name)
    assert not home.exists()


def test_a_cluster_that_is_kept_here_already_is_not_started_again(
    home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(skylift.cli.cluster, "_make", lambda *_: pytest.fail("it was started"))
    monkeypatch.setattr(skylift.cli.cluster, "_end_as_by_ctrl_c", lambda: None)
    with hold("one"):
        assert perform(["cluster", "up", "--on", "aws", "--name", "one"]) == 2
    assert "is kept on this machine already" in capfd.readouterr().err


def test_a_command_that_cannot_be_started_after_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster is there already, so this is no 2."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    text = UP.replace('sys.executable, "-c", sys.argv[1]', "sys.argv[1]")
    done = subprocess.run([sys.executable, "-c", text, broken], capture_output=True, text=True, check=False)
    assert done.stdout == "The cluster is taken down.\n"
    assert done.returncode == 125, done.stderr
    assert "broken cannot be started: No such file or directory." in done.stderr


@pytest.mark.parametrize(
    ("state", "code", "ours"),
    [
        (State.CANCELLED, 130, 0),
        (State.TIMED_OUT, 124, 124),
        (State.BROKEN, 125, 125),
        (State.LOST, 125, 125),
        (State.FAILED, 1, 1),
        # It has heard no client for a minute.
        (State.SUCCEEDED, 0, 125),
    ],
)
def test_a_scheduler_that_ends_decides_how_its_keeper_does(
    state: State, code: int, ours: int, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = Outcome("one", state, code, "Its server was terminated.")
    assert _tell_end("one", lambda: outcome) == ours
    told = f"The scheduler of one has ended ({state}): Its server was terminated."
    assert (told in capfd.readouterr().err) == (state != State.CANCELLED)


def test_a_cluster_that_was_taken_down_is_no_failure() -> None:
    def gone() -> Outcome:
        raise JobNotFound("There is no job called 'one'.")

    def broken() -> Outcome:
        raise RunError("The API does not answer.")

    assert _tell_end("one", gone) == 0
    with pytest.raises(RunError):
        _tell_end("one", broken)


def test_a_kept_cluster_is_found(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with hold("one") as held, held.shown(MADE):
        assert perform(["cluster", "env", "one"]) == 0
        lines = capfd.readouterr().out.splitlines()
        assert lines[0] == "export DASK_SCHEDULER_ADDRESS=tls://127.0.0.1:1"
        keys = {stat.S_IMODE(each.stat().st_mode) for each in (home / "clusters/one").glob("*.pem")}
        assert keys == {0o600}
        assert stat.S_IMODE((home / "clusters/one").stat().st_mode) == 0o700
        assert held.wanted() is None
        assert perform(["cluster", "scale", "one", "0..8"]) == 0
        assert held.wanted() == (0, 8)
        assert held.wanted() is None, "it is asked for once"
        with pytest.raises(UsageError, match="is kept on this machine already"), hold("one"):
            pass
        assert find_held("one").environ == held.environ, "who was refused took nothing with him"
    with pytest.raises(UsageError):
        find_held("one")
    assert list((home / "clusters").iterdir()) == []


def test_a_keeper_that_was_killed_keeps_nothing(home: Path) -> None:
    """Its files are there, and nobody has the lock."""
    lock = HeldCluster("one").lock()
    with HeldCluster("one").shown(MADE):
        left = (home / "clusters/one/environ.json").read_text()
    (home / "clusters/one/environ.json").write_text(left)
    lock.close()
    HeldCluster("one").want(3)
    with pytest.raises(UsageError, match="is kept on this machine"):
        find_held("one")
    with hold("one") as held:
        with pytest.raises(UsageError, match="is kept on this machine"):
            find_held("one")
        assert held.wanted() is None, "that was for another cluster of the name"


UP = """
import sys
import skylift.cli.cluster
from skylift.cli.main import perform

class Made:
    name, dashboard_link = "one", ""
    def environ(self, folder):
        return {"DASK_SCHEDULER_ADDRESS": "tls://127.0.0.1:1"}
    def __enter__(self):
        return self
    def __exit__(self, *error):
        print("The cluster is taken down.", flush=True)

skylift.cli.cluster._make = lambda *_: Made()
sys.exit(perform(["cluster", "up", "--on", "aws", "--", sys.executable, "-c", sys.argv[1]]))
"""
"""`skylift cluster up` with a cluster that has no servers."""
WAITING = "import signal, sys; {block}; print('ready', flush=True); {wait}"
# A handler would not do: a signal that comes just before signal.pause() is often lost on Python 3.14.
BLOCK = "signal.pthread_sigmask(signal.SIG_BLOCK, [{number}])"
CLEAN = "signal.sigwait([{number}]); print('cleaned up', flush=True); sys.exit(7)"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("cleans", [True, False])
def test_what_ends_the_keeper_ends_its_command_first(
    number: signal.Signals, cleans: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command's end is seen, and then the cluster is taken down."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    block, wait = (BLOCK, CLEAN) if cleans else ("pass", "signal.pause()")
    command = WAITING.format(block=block, wait=wait).format(number=int(number))
    keeper = subprocess.Popen([sys.executable, "-c", UP, command], stdout=subprocess.PIPE, text=True)
    assert keeper.stdout is not None
    try:
        assert keeper.stdout.readline() == "ready\n"
        keeper.send_signal(number)
        said = keeper.stdout.read()
        assert said == "cleaned up\n" * cleans + "The cluster is taken down.\n"
        assert keeper.wait() == (7 if cleans else 128 + number)
    finally:
        keeper.kill()
        keeper.wait()
        keeper.stdout.close()
