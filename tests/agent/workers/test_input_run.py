"""One input on its server, as it is: real processes, and a server that goes down or stays."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from at_opening import at_opening
from kept_prefix import KeptPrefix

from skylift.agent.job.login_user import Login
from skylift.agent.remote.aws import Refused
from skylift.agent.remote.prefix import Prefix
from skylift.agent.workers import input_live, input_run
from skylift.agent.workers.input_folders import InputFolders
from skylift.agent.workers.input_memory import InputMemory
from skylift.agent.workers.input_run import KEPT, InputRun, MapPlace, NoOutcome, remove_runs
from skylift.agent.workers.input_spawner import Spawner
from skylift.client.map.live import InputLive, LiveStream, parse_live
from skylift.client.map.outcome import InputOutcome, InputState, parse_outcome
from skylift.client.text.json_object import as_object


class Here(Login):
    """This process's own user, so that the test's interpreter can be started."""

    def __init__(self) -> None:
        pass

    uid, gid = os.geteuid(), os.getegid()

    def identity(self) -> dict[str, Any]:
        return {}


class OneObject:
    """A bucket with one object, whose ETag is "tag"."""

    CONTENT = b"a,b\n1,2\n3,4\n"

    def __init__(self, region: str, name: str) -> None:
        assert (region, name) == ("eu-west-1", "data")

    def fetch_span(self, key: str, start: int, end: int, sink: BinaryIO, etag: str) -> None:
        assert key == "in/table.csv"
        if etag != '"tag"':
            raise Refused(412, "it was changed since the job was submitted")
        sink.write(self.CONTENT[start:end])


class Case:
    def __init__(self, folder: Path) -> None:
        self.prefix, self.down = KeptPrefix(), threading.Event()
        self.tree, self.runs = folder / "job", folder / "runs"
        (self.tree / "sub").mkdir(parents=True)
        (self.tree / "data.txt").write_text("data")
        self.spawner, self.folders = Spawner(), InputFolders(self.tree, "sub", Here())
        self.ours, self.theirs = socket.socketpair()

    def close(self) -> None:
        self.spawner.close()
        assert list(self.runs.iterdir()) == []

    def run(
        self, source: str, *, outputs: tuple[str, ...] = (), args: tuple[str, ...] = (), part: Any = None
    ) -> InputOutcome:
        (self.tree / "job.py").write_text(source)
        place = MapPlace(
            cast(Prefix, self.prefix), Here(), self.runs, self.folders, "sub", sys.executable, "i-0", self.down,
            dict(os.environ), InputMemory(), lambda region, name: cast(Prefix, OneObject(region, name)),
            cast(Prefix, self.prefix),
        )  # fmt: skip
        program = {
            "argv": ["python", "../job.py"], "python": True, "args": args, "outputs": outputs, "total": 1,
        }  # fmt: skip
        wanted = {"index": 3, "text": "it", "attempt": 1, **({"part": part} if part else {})}
        told = InputRun(place, self.spawner, program, wanted).run(self.theirs)
        return parse_outcome(as_object(told, "it"))


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    found = Case(tmp_path)
    yield found
    found.close()


@pytest.fixture
def case_in_memory() -> Iterator[Case]:
    """Many a disk takes two milliseconds to remove a folder."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="skylift-deep-"))
    found = Case(folder)
    yield found
    try:
        found.close()
    finally:
        # It may be deeper than Python can remove.
        subprocess.run(["rm", "-rf", folder], check=True)


def test_what_it_leaves_is_sent_and_what_it_was_given_is_not(case: Case) -> None:
    source = "import os\nopen('a.txt', 'w').write(open('../data.txt').read())\nos.symlink('/etc/passwd', 'b.txt')\n"
    outcome = case.run(source + "print('said')\nraise SystemExit(3)\n", outputs=("*.txt",))
    assert (outcome.index, outcome.state, outcome.exit_code) == (3, InputState.FAILED, 3)
    assert outcome.stdout.content == b"said\n"
    assert [each.path for each in outcome.results] == ["a.txt"]
    assert list(case.prefix.objects.values()) == [b"data"]


# What hostile programs do: other inputs are the same user, and may exchange what root is about to read.


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A folder that no input may read."""
    found = tmp_path / "secret"
    found.mkdir()
    for name in ("a.txt", "b.txt"):
        (found / name).write_text("root's")
    return found


LEAVE = "open('a.txt', 'w').write('a')\nopen('b.txt', 'w').write('b')\n"


def place_of(case: Case) -> Path:
    (run,) = case.runs.iterdir()
    return run / "work/sub"


@pytest.mark.parametrize("what", ["link", "fifo", "folder"])
def test_a_result_that_another_input_exchanges_as_root_opens_it(case: Case, secret: Path, what: str) -> None:
    def exchange() -> None:
        place = place_of(case)
        if what == "folder":
            place.rename(place.with_name("moved"))
            place.symlink_to(secret)
            return
        (place / "b.txt").unlink()
        if what == "link":
            (place / "b.txt").symlink_to(secret / "b.txt")
        else:
            os.mkfifo(place / "b.txt")

    with at_opening("b.txt", exchange):
        outcome = case.run(LEAVE, outputs=("*.txt",))
    # In a working directory that was moved it is still the input's.
    assert [each.path for each in outcome.results] == ["a.txt", *(["b.txt"] if what == "folder" else [])]
    reasons = {
        "link": ("b.txt: a link that leads elsewhere is in its place",),
        "fifo": ("b.txt: it is no longer a file",),
    }
    assert outcome.missing == reasons.get(what, ())
    assert set(case.prefix.objects.values()) <= {b"a", b"b"}


def test_a_working_directory_that_becomes_a_link_has_no_results(case: Case, secret: Path) -> None:
    source = f"import os\n{LEAVE}os.chdir('..')\nos.rename('sub', 'moved')\nos.symlink({str(secret)!r}, 'sub')\n"
    outcome = case.run(source, outputs=("*",))
    assert (outcome.succeeded, outcome.results, case.prefix.objects) == (True, (), {})
    assert outcome.missing == ("sub: a link that leads elsewhere is in its place",)


def test_a_link_to_its_own_file_is_a_result_as_in_a_job(case: Case) -> None:
    outcome = case.run(f"import os\n{LEAVE}os.symlink('a.txt', 'latest.txt')\n", outputs=("latest*",))
    assert [(each.path, each.size) for each in outcome.results] == [("latest.txt", 1)]


def test_folders_without_end_end_neither_the_outcome_nor_the_server(case_in_memory: Case) -> None:
    source = "import os\nfor _ in range(1100):\n    os.mkdir('deep')\n    os.chdir('deep')\nprint('deep')\n"
    outcome = case_in_memory.run(source, outputs=("**", "."))
    assert (outcome.succeeded, outcome.stdout.content, outcome.results) == (True, b"deep\n", ())


@pytest.mark.parametrize("size", [5000, (64 << 20) + 9])
def test_a_stream_that_another_input_writes_on_is_sent_as_its_outcome_says(case: Case, size: int) -> None:
    """It may have got the descriptor."""

    def write_on() -> None:
        with (place_of(case).parents[1] / "stdout").open("ab") as file:
            file.write(b"more")

    case.prefix.during = write_on
    outcome = case.run(f"import os\nos.write(1, b'begin')\nos.ftruncate(1, {size})\n")
    assert outcome.stdout.kept == min(size, KEPT)
    assert [len(each) for each in case.prefix.objects.values()] == [outcome.stdout.kept]


def test_the_next_input_has_a_new_folder(case: Case) -> None:
    """Whatever the last one has done to its own: an attribute of a folder would stay there."""
    source = "import os\nprint(os.getcwd(), os.listxattr('.'), os.listdir())\n"
    meddle = "os.setxattr('.', 'user.left', b'1')\nopen('left', 'w')\nos.chmod('.', 0o700)\n"
    first, second = ((case.run(source + meddle).stdout.content or b"").split(b" ", 1) for _ in range(2))
    assert first[0] != second[0]
    assert first[1] == second[1]
    assert first[1].endswith(b" []\n")


@pytest.mark.parametrize(
    ("args", "had"),
    [((), ["it"]), (("-v",), ["-v", "it"]), (("--file", "{}"), ["--file", "it"]), (("a{}b{}",), ["aitbit"])],
)
def test_an_input_takes_the_place_of_braces_or_comes_last(case: Case, args: tuple[str, ...], had: list[str]) -> None:
    outcome = case.run("import sys\nprint(sys.argv[1:])\n", args=args)
    assert outcome.stdout.content == f"{had}\n".encode()


def test_what_cannot_be_removed_in_the_end_is_said_and_no_failure_of_the_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program with root's rights may have mounted something there, or made a file unchangeable."""
    said, unlink = list[str](), os.unlink

    def refuse(name: Any, **how: Any) -> None:
        if name == "fixed":
            raise PermissionError(1, "Operation not permitted", name)
        unlink(name, **how)

    monkeypatch.setattr(os, "unlink", refuse)
    monkeypatch.setattr(input_run, "write_to_console", said.append)
    (tmp_path / "runs/one").mkdir(parents=True)
    for name in ("fixed", "other"):
        (tmp_path / "runs/one" / name).touch()
    remove_runs(tmp_path / "runs")
    assert [each.name for each in (tmp_path / "runs/one").iterdir()] == ["fixed"]
    assert len(said) == 1
    assert "Operation not permitted: 'fixed'" in said[0]
    monkeypatch.undo()
    remove_runs(tmp_path / "runs")
    remove_runs(tmp_path / "runs")
    assert (list(tmp_path.iterdir()), len(said)) == ([], 1)


def test_a_death_by_signal_is_an_outcome_of_a_server_that_stays(case: Case) -> None:
    began = time.monotonic()
    outcome = case.run("import os\nos.kill(os.getpid(), 15)\n")
    assert (outcome.state, outcome.exit_code, outcome.signal) == (InputState.FAILED, 143, "SIGTERM")
    assert time.monotonic() - began > 1, "a shutdown would have been heard of by then"


@pytest.mark.parametrize("end", ["import os\nos.kill(os.getpid(), 15)\n", "raise SystemExit(143)\n"])
def test_a_server_that_goes_down_gives_no_verdict(case: Case, end: str) -> None:
    threading.Timer(0.5, case.down.set).start()
    with pytest.raises(NoOutcome):
        case.run(end)
    assert case.prefix.objects == {}


def test_a_success_on_a_server_that_goes_down_is_none_either(case: Case) -> None:
    case.down.set()
    with pytest.raises(NoOutcome):
        case.run("pass\n")


def test_who_is_gone_ends_it(case: Case, tmp_path: Path) -> None:
    def leave() -> None:
        while not (tmp_path / "pid").exists():
            time.sleep(0.01)
        case.ours.close()

    threading.Thread(target=leave).start()
    source = f"import os, time\nopen('x', 'w').write(str(os.getpid()))\nos.rename('x', {str(tmp_path / 'pid')!r})\n"
    with pytest.raises(NoOutcome):
        case.run(source + "time.sleep(600)\n")
    pid, until = (tmp_path / "pid").read_text(), time.monotonic() + 30
    while Path("/proc", pid).exists():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_the_beginning_of_a_stream_without_end_is_kept(case: Case) -> None:
    outcome = case.run("import os\nos.write(1, b'begin')\nos.ftruncate(1, (64 << 20) + 9)\nos.write(2, b'x' * 5000)\n")
    assert (outcome.stdout.size, outcome.stdout.kept, outcome.stdout.content) == (KEPT + 9, KEPT, None)
    assert (outcome.stderr.size, outcome.stderr.kept) == (5000, 5000)
    kept = {key.rpartition("/")[2]: content for key, content in case.prefix.objects.items()}
    assert (len(kept["stdout"]), kept["stdout"][:6], len(kept["stderr"])) == (KEPT, b"begin\0", 5000)


def test_what_it_has_written_so_far_is_in_the_record_while_it_runs(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_live, "FIRST", 0.01)
    go, seen = tmp_path / "go", list[InputLive]()

    def let_it_go_on(step: str, verb: str, key: str) -> None:
        if step == "done" and key == "server/map/runs/00000003-live":
            found = parse_live(case.prefix.objects[key])
            if found.stderr.content and not seen:
                seen.append(found)
                go.touch()

    case.prefix.fault = let_it_go_on
    source = (
        "import os, sys, time\nos.write(1, b'x' * 70000 + b'so far')\nos.write(2, b'careful')\n"
        f"while not os.path.exists({str(go)!r}):\n    time.sleep(0.01)\nos.write(1, b' and the rest')\n"
    )
    outcome = case.run(source)
    (live,) = seen
    assert live.stderr == LiveStream(0, b"careful")
    assert live.stdout.content.endswith(b"xso far")
    assert (len(live.stdout.content), live.stdout.end) == (64 << 10, 70006)
    assert (live.run, live.attempt) == (outcome.run, 1)
    assert outcome.stdout.size == 70019


def test_a_record_that_cannot_be_written_meanwhile_harms_no_input(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_live, "FIRST", 0.01)
    go = tmp_path / "go"

    def refuse(step: str, verb: str, key: str) -> None:
        if key.endswith("-live"):
            go.touch()
            raise Refused(403, "AccessDenied")

    case.prefix.fault = refuse
    source = f"import os, time\nprint('x', flush=True)\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(0.01)\n"
    assert case.run(source).succeeded
    assert case.prefix.objects == {}


class SlowRequest:
    """A report of what an input has written, whose request takes until `released`. `waited` says that it took its whole
    time, which is a failure."""

    def __init__(self, case: Case, began: Path) -> None:
        self.began, self.released, self.waited = began, threading.Event(), False
        case.prefix.fault = self._hold

    def _hold(self, step: str, verb: str, key: str) -> None:
        if key.endswith("-live") and step == "asked":
            self.began.touch()
            self.waited = not self.released.wait(20)


def test_a_report_that_takes_long_keeps_no_outcome_back(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_live, "FIRST", 0.01)
    slow = SlowRequest(case, tmp_path / "began")
    source = "import os, time\nprint('x', flush=True)\n"
    outcome = case.run(source + f"while not os.path.exists({str(slow.began)!r}):\n    time.sleep(0.01)\n")
    slow.released.set()
    assert outcome.succeeded
    assert not slow.waited


def test_who_is_gone_ends_it_while_a_report_takes_long(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the input could run twice at once."""
    monkeypatch.setattr(input_live, "FIRST", 0.01)
    slow = SlowRequest(case, tmp_path / "began")

    def leave() -> None:
        while not slow.began.exists():
            time.sleep(0.01)
        case.ours.close()

    threading.Thread(target=leave).start()
    with pytest.raises(NoOutcome):
        case.run("import time\nprint('x', flush=True)\ntime.sleep(600)\n")
    slow.released.set()
    assert not slow.waited


PART = {
    "bucket": "data", "region": "eu-west-1", "key": "in/table.csv", "etag": '"tag"', "header": 4, "begin": 8, "end": 12,
    "name": "table-0001.csv",
}  # fmt: skip


def test_a_part_of_an_object_is_a_file_behind_its_header(case: Case) -> None:
    source = "import os, sys; print(os.path.basename(sys.argv[-1]), repr(open(sys.argv[-1]).read()))"
    told = case.run(source, part=PART)
    assert told.stdout.content == b"table-0001.csv 'a,b\\n3,4\\n'\n"


def test_an_object_that_was_changed_since_is_told(case: Case) -> None:
    told = case.run("print()", part={**PART, "etag": '"older"'})
    assert (told.state, told.exit_code) == (InputState.BROKEN, 125)
    assert told.reason == "The input could not be prepared: HTTP 412: it was changed since the job was submitted"
