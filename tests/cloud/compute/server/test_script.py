"""Scripts as servers run them. The program that a server's Python is given runs here, on this machine, as it is."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from skylift.cloud.compute.server import script as scripts
from skylift.cloud.compute.server.script import Closing, Scripts, ServerOff, Unanswered, Unresponsive, parse_end
from skylift.cloud.domain.command import STDOUT, Script, ScriptEnd

SERVER = "i-00000000000000001"


class Here:
    """A server that is this machine; `files` is where its scripts are."""

    def __init__(self, files: Path) -> None:
        self.files = files
        self.on = True
        self.scripts = Scripts(self.begin, lambda _: self.on)

    def begin(self, _server: str, program: Sequence[str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, *program[1:]] if self.on else ["false"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, *lines: str, key: str = "a", **more: Any) -> ScriptEnd:
        text = "".join(f"{line}\n" for line in lines)
        return self.scripts.run(SERVER, Script(**{"key": key, "text": text, "directory": "/", "seconds": 60, **more}))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setattr(scripts, "place", lambda _server, key: str(tmp_path / key))
    return Here(tmp_path)


@pytest.fixture
def aside() -> Iterator[Callable[..., Future[ScriptEnd]]]:
    with ThreadPoolExecutor() as pool:
        yield pool.submit


def await_file(file: Path) -> None:
    """A pipe that the script writes to once it is there."""
    assert file.read_text() == "there\n"


def test_a_script_says_what_it_wrote(here: Here) -> None:
    end = here.run("echo out $X; pwd", "echo err >&2", environment={"X": "x"}, directory="/usr")
    assert end == ScriptEnd("exited", 0, "out x\n/usr\n", "err\n")


def test_one_that_fails_says_so_as_the_agent_does(here: Here) -> None:
    # What the agent adds: runscript.go ("failed to run commands"), with the words of Go's exec.ExitError.
    assert here.run("echo no >&2; exit 3") == ScriptEnd("exited", 3, "", "no\nfailed to run commands: exit status 3")
    killed = here.run("kill -KILL $$", key="b")
    assert killed.code in (-1, 137)
    assert killed.stderr.startswith(("failed to run commands: signal: killed", "Killed"))
    nowhere = here.run("true", key="c", directory="/nowhere")
    assert nowhere == ScriptEnd("exited", 1, "", "failed to run commands: chdir /nowhere: no such file or directory")


def test_the_first_line_may_name_another_interpreter(here: Here) -> None:
    assert here.run(f"#!{sys.executable}", "print(6 * 7)").stdout == "42\n"


def test_a_script_that_takes_too_long_is_ended_with_all_that_it_began(here: Here, tmp_path: Path) -> None:
    here.run("sleep 3600 & echo $! >" + str(tmp_path / "other"), "echo before", "wait", seconds=1)
    other = Path("/proc") / (tmp_path / "other").read_text().strip() / "stat"
    # Nobody may have waited for it yet.
    assert not other.exists() or other.read_text().split()[2] == "Z"
    assert here.run("ignored") == ScriptEnd("timed-out", 137, "before\n", "")


def test_a_script_runs_once_whoever_asks(here: Here, tmp_path: Path, aside: Callable[..., Future[ScriptEnd]]) -> None:
    """As after a restart of the cloud: the second asks for the end of what the first began."""
    mark, go = tmp_path / "mark", tmp_path / "go"
    subprocess.run(["mkfifo", mark, go], check=True)
    lines = (f"echo once >>{tmp_path}/times", f"echo there >{mark}", f"cat {go}")
    first = aside(here.run, *lines)
    await_file(mark)
    second = aside(here.run, *lines)
    go.write_text("gone\n")
    assert first.result() == second.result() == ScriptEnd("exited", 0, "gone\n", "")
    assert here.run(*lines) == first.result()
    assert (tmp_path / "times").read_text() == "once\n"


def test_a_cancelled_script_ends(here: Here, tmp_path: Path, aside: Callable[..., Future[ScriptEnd]]) -> None:
    mark = tmp_path / "mark"
    subprocess.run(["mkfifo", mark], check=True)
    under_way = aside(here.run, "echo before", f"echo there >{mark}", "sleep 3600")
    await_file(mark)
    here.scripts.cancel(SERVER, "a")
    assert under_way.result() == ScriptEnd("cancelled", 137, "before\n", "")
    here.scripts.cancel(SERVER, "a")
    assert here.run("ignored") == under_way.result()


def test_one_that_is_cancelled_first_never_begins(here: Here, tmp_path: Path) -> None:
    here.scripts.cancel(SERVER, "a")
    assert here.run(f"touch {tmp_path}/it") == ScriptEnd("cancelled", 137, "", "")
    assert not (tmp_path / "it").exists()


def test_the_end_of_a_server_is_the_end_of_a_script(here: Here) -> None:
    """It finds what a server that lost its power has left."""
    (here.files / "a").mkdir()
    (here.files / "a/_script.sh").write_text("sleep 3600")
    (here.files / "a/stdout").write_text("before\n")
    assert here.run("sleep 3600") == ScriptEnd("lost", -1, "before\n", "")


def test_of_much_output_the_beginning_is_told(here: Here) -> None:
    end = here.run("yes é | head -c 1000000")
    assert end.stdout == ("é\n" * STDOUT)[: STDOUT + 1]
    assert len((here.files / "a/stdout").read_bytes()) == 1_000_000


def test_output_that_is_no_text_is_told_all_the_same(here: Here) -> None:
    assert here.run(r"printf '\377\000x'").stdout == "\N{REPLACEMENT CHARACTER}\0x"


def test_a_server_that_is_off_is_told_from_one_that_says_nothing(here: Here) -> None:
    here.on = False
    with pytest.raises(ServerOff):
        here.run("true")
    silent = Scripts(lambda *_: subprocess.Popen("true", stdin=-1, stdout=-1), lambda _: True)
    with pytest.raises(Unresponsive):
        silent.run(SERVER, Script("a", "true", "/", 60))


def test_a_server_cannot_say_more_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = Scripts(lambda *_: subprocess.Popen("yes", stdin=-1, stdout=-1), lambda _: True)
    with pytest.raises(Unanswered):
        endless.run(SERVER, Script("a", "true", "/", 60))


def test_who_waits_is_let_go_when_the_cloud_stops(here: Here, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    subprocess.run(["mkfifo", mark], check=True)
    seen: list[BaseException] = []

    def wait() -> None:
        try:
            here.run(f"echo there >{mark}", "sleep 3600")
        except Closing as error:
            seen.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    await_file(mark)
    here.scripts.close()
    waiting.join()
    assert seen
    # The script goes on; another process may still end it.
    Here(tmp_path).scripts.cancel(SERVER, "a")


GOOD = {"how": "exited", "code": 0, "stdout": "", "stderr": ""}


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"nonsense",
        b"[]",
        b"[" * 100_000,
        b"\xff\xfe",
        *(
            json.dumps({**GOOD, **wrong}).encode()
            for wrong in (
                {"how": "well"},
                {"how": ["exited"]},
                {"code": "0"},
                {"code": True},
                {"code": 1 << 70},
                {"code": 1.5},
                {"stdout": None},
                {"stderr": {}},
            )
        ),
    ],
)
def test_what_a_hostile_server_says_is_no_end(said: bytes) -> None:
    assert parse_end(said) is None


def test_halves_of_characters_do_not_come_in() -> None:
    said = json.dumps({**GOOD, "stdout": "\ud800x"}).encode()
    assert parse_end(said) == ScriptEnd("exited", 0, "?x", "")
