"""The command line as a process: messages, exit codes, and what never shows a traceback."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from skylift import __version__
from skylift.cli.cloud import exports
from skylift.cli.main import COMMANDS, make_app, perform
from skylift.client.errors import RunError, SkyliftError, UsageError
from skylift.cloud.compute.image.image import (
    BuildFailed,
    BuildToolMissing,
    MirrorUnreachable,
    NoRoomForImage,
    WrongImage,
)
from skylift.cloud.compute.image.recipe import ArchitectureUnknown
from skylift.cloud.state.data import Endpoint
from skylift.cloud.state.home import Home, RootKey
from skylift.place.start import require_image


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("SKYLIFT_HOME", str(tmp_path))
    # Images are shared by all clouds of a machine: those of other tests must not be there.
    monkeypatch.setenv("SKYLIFT_DATA", f"{os.environ['SKYLIFT_DATA']}/{tmp_path.name}")
    return Home(tmp_path)


def skylift(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "skylift.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def test_help_names_every_command() -> None:
    done = skylift("--help")
    assert done.returncode == 0
    for command in ("run", "ps", "ssh", "cp", "cancel", "setup", "doctor", "cloud"):
        assert f"\n  {command} " in done.stdout


def written_to(target: Any, *words: str) -> subprocess.CompletedProcess[str]:
    """As for users, whose Python writes a short output when the command has ended."""
    command = [sys.executable, "-m", "skylift.cli.main", *words]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(command, check=False, stdout=target, stderr=subprocess.PIPE, text=True, env=buffered)


@pytest.mark.parametrize("words", [("--version",), ("types", "--all")])
def test_output_that_nobody_reads(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    unread = written_to(writing, *words)
    os.close(writing)
    assert unread.returncode == 141
    assert "BrokenPipe" not in unread.stderr


def test_output_that_has_no_room() -> None:
    with Path("/dev/full").open("w") as full:
        told = written_to(full, "--version")
    assert (told.returncode, told.stderr) == (
        125,
        "skylift: standard output cannot be written: No space left on device.\n",
    )


def test_letters_that_the_terminal_does_not_have(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYLIFT_HOME", f"{home.path}/größe-✓")
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    done = subprocess.run(
        [sys.executable, "-m", "skylift.cli.main", "cloud", "status"], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, b"")
    assert done.stdout.endswith("/größe-\\u2713\n".encode("latin-1"))


def test_a_script_in_the_place_of_a_command() -> None:
    done = skylift("job.py", "--fast")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "skylift: job.py is not a command of skylift.\n         To run it: skylift run job.py\n"


@pytest.mark.parametrize(("script", "word"), [("my job.py", "'my job.py'"), ("-x.py", "./-x.py")])
def test_the_command_that_is_told_runs_that_script(script: str, word: str) -> None:
    done = skylift(script)
    assert done.returncode == 2
    assert done.stderr.endswith(f"To run it: skylift run {word}\n")


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    script = f"mkdir {gone} && cd {gone} && rmdir {gone} && exec {sys.executable} -P -m skylift.cli.main "
    for words in ("run job.py", "ps", "cloud status"):
        done = subprocess.run(["sh", "-c", script + words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "skylift: The current directory has been deleted.\n         Go to one that is there: cd\n"
    assert subprocess.run(["sh", "-c", script + "--version"], capture_output=True, check=False).returncode == 0


def test_a_command_is_found_without_the_others() -> None:
    everything = typer.main.get_command(make_app())
    assert isinstance(everything, TyperGroup)
    assert list(everything.commands) == list(COMMANDS)
    for name in COMMANDS:
        alone = typer.main.get_command(make_app(name))
        assert isinstance(alone, TyperGroup)
        assert {COMMANDS[each] for each in alone.commands} == {COMMANDS[name]}
        assert name in alone.commands


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from skylift.cli.main import perform; code = perform(['--help']);"
        "print(code, sorted({'boto3', 'botocore', 'asyncssh', 'aiohttp', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_version() -> None:
    assert skylift("--version").stdout == f"skylift {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [["bogus"], ["cloud", "bogus"], ["cloud", "up", "--port", "0"], ["cloud", "up", "--port", "x"], ["--no"]],
)
def test_a_wrong_command_line_is_2(arguments: list[str]) -> None:
    done = skylift(*arguments)
    assert done.returncode == 2
    assert "Error" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("wrong", "do this"), 2, "skylift: wrong\n         do this\n"),
        (RunError("broken"), 125, "skylift: broken\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_messages_and_exit_codes(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(home: Home) -> None:
        raise error

    monkeypatch.setattr("skylift.cli.cloud.describe", fail)
    assert perform(["cloud", "status"]) == code
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize(
    ("error", "kind", "advice"),
    [
        (NoRoomForImage("full"), UsageError, ""),
        (BuildToolMissing("no mmdebstrap"), UsageError, ""),
        (WrongImage("another file"), UsageError, ""),
        (ArchitectureUnknown("no such processor"), UsageError, ""),
        (MirrorUnreachable("no mirror", Path("/x/build.log")), RunError, "is in /x/build.log."),
        (BuildFailed("failed", Path("/x/build.log")), RunError, "is in /x/build.log."),
    ],
)
def test_a_build_that_fails_is_the_users_or_skylifts(
    error: Exception, kind: type[SkyliftError], advice: str, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr("skylift.cloud.compute.image.image.ensure_image", fail)
    with pytest.raises(kind, match=str(error)) as failure:
        require_image(home)
    assert failure.value.advice.endswith(advice)


def test_our_own_mistakes_are_125_and_show_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("skylift.cli.cloud.describe", lambda home: 1 // 0)
    assert perform(["cloud", "status"]) == 125
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_status_of_a_cloud_that_is_down(home: Home) -> None:
    done = skylift("cloud", "status", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"running": False, "home": str(home.path), "image": None}
    assert skylift("cloud", "status").stdout == f"down    {home.path}\n"


@pytest.mark.parametrize("command", ["env", "logs"])
def test_what_takes_a_running_cloud_says_so(home: Home, command: str) -> None:
    done = skylift("cloud", command)
    assert done.returncode == 2
    assert str(home.path) in done.stderr


def test_down_where_nothing_ever_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYLIFT_HOME", str(tmp_path / "never"))
    done = skylift("cloud", "down")
    assert (done.returncode, done.stdout) == (0, f"There is no cloud in {tmp_path / 'never'}.\n")
    assert not (tmp_path / "never").exists()


def test_data_are_erased_only_where_that_is_meant(home: Home) -> None:
    home.data.path.mkdir(parents=True)
    (home.data.path / "state.db").touch()
    refused = skylift("cloud", "down", "--erase")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert (home.data.path / "state.db").exists()


def test_a_state_directory_of_before_is_refused_and_stays_as_it_is(home: Home) -> None:
    """It was the user's, with all that root works with."""
    (home.path / "state.db").write_bytes(b"of 0.1")
    for command in (("cloud", "up"), ("setup", "--yes", "--packages-only"), ("ps", "--on", "local")):
        refused = skylift(*command)
        assert refused.returncode == 2
        assert "holds a cloud of skylift 0.1" in refused.stderr
        assert f"mv {home.path} {home.path}-0.1" in refused.stderr
    assert [path.name for path in home.path.iterdir()] == ["state.db"]
    assert not home.data.path.exists()


def test_logs_shows_the_last_lines(home: Home) -> None:
    home.data.path.mkdir(parents=True)
    home.data.log.write_text("".join(f"line {number}\n" for number in range(10)))
    assert skylift("cloud", "logs", "-n", "2").stdout == "line 8\nline 9\n"


def test_exports_are_safe_for_a_shell() -> None:
    endpoint = Endpoint("http://127.0.0.1:4520", "us-east-1", "1" * 12, 1, "0", "127.32.0.1")
    script = exports(endpoint, RootKey("AKIA", "a'b$(touch x)")) + "env"
    environment = {"AWS_SESSION_TOKEN": "old", "AWS_PROFILE": "old", "PATH": os.environ["PATH"]}
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env=environment)
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if line.startswith("AWS_"))
    assert found == {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4520",
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": "a'b$(touch x)",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def test_a_cloud_is_up_while_its_own_process_holds_the_lock(home: Home) -> None:
    def write(pid: int) -> None:
        home.data.write_endpoint(Endpoint("http://127.0.0.1:4520", "us-east-1", "1" * 12, pid, "0", "127.32.0.1"))

    assert home.running_pid() is None
    home.data.path.mkdir(parents=True)
    with home.data.lock.open("w") as lock:
        write(os.getpid())
        assert home.running_pid() is None
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert home.running_pid() == os.getpid()
        write(1)
        assert home.running_pid() is None


def test_every_error_of_the_tree_has_an_exit_code_that_is_documented() -> None:
    def tree(kind: type[SkyliftError]) -> list[type[SkyliftError]]:
        return [kind, *(deeper for below in kind.__subclasses__() for deeper in tree(below))]

    assert {kind.exit_code for kind in tree(SkyliftError)} == {2, 125}
