"""Standard input of `skylift run`: pipes, files and terminals, on real servers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.real_server import until
from support.running_job import ended_job, jobs
from test_run_terminal import Terminal

pytestmark = pytest.mark.real

ANSWERS = """
import sys
print("ready", flush=True)
size = 0
for line in sys.stdin:
    size += len(line)
    print("got", line, end="", flush=True)
print("end", size)
"""


@pytest.fixture
def folder(cloud: RealCloud, request: pytest.FixtureRequest) -> Path:
    found = cloud.work / str(request.node.name)
    found.mkdir()
    (found / "job.py").write_text(ANSWERS)
    return found


def test_a_pipe_is_streamed_and_answered_line_by_line(cloud: RealCloud, folder: Path) -> None:
    with (folder / "words").open("wb") as words:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": words}
        client = cloud.popen("run", "job.py", cwd=folder, **pipes)
        assert client.stdin is not None and client.stdout is not None
        assert client.stdout.readline() == b"ready\n", (folder / "words").read_text()
        for number in range(20):
            client.stdin.write(b"%d\n" % number)
            client.stdin.flush()
            assert client.stdout.readline() == b"got %d\n" % number
        client.stdin.close()
        assert client.stdout.read() == b"end 50\n"
        assert client.wait() == 0


def test_a_file_through_a_command_of_the_server(cloud: RealCloud, folder: Path) -> None:
    (folder / "data").write_text("".join(f"{number * 7919 % 100_003:07}\n" for number in range(100_003)))
    with (folder / "data").open("rb") as data:
        done = subprocess.run(
            cloud.command("run", "-q", "--", "sort"),
            stdin=data,
            capture_output=True,
            check=False,
            cwd=folder,
            env=cloud.environment,
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines() == [b"%07d" % number for number in range(100_003)]


def test_it_goes_along_with_a_job_that_is_left(cloud: RealCloud, folder: Path) -> None:
    command = cloud.command("run", "-d", "--json", "--name", "left-alone", "job.py")
    done = subprocess.run(
        command, input=b"one\ntwo\n", capture_output=True, check=False, cwd=folder, env=cloud.environment
    )
    assert (done.returncode, json.loads(done.stdout)["name"]) == (0, "left-alone"), done.stderr
    assert cloud.skylift("wait", "left-alone").returncode == 0
    assert cloud.skylift("logs", "left-alone").stdout == "ready\ngot one\ngot two\nend 8\n"
    cloud.skylift("rm", "left-alone")


def test_a_pipe_that_nobody_writes_to(cloud: RealCloud, folder: Path) -> None:
    """As some who start jobs from a timetable leave one."""
    (folder / "job.py").write_text("print('done')")
    reading, writing = os.pipe()
    client = cloud.popen("run", "--json", "job.py", cwd=folder, stdin=reading, stdout=subprocess.PIPE)
    said, _ = client.communicate()
    assert (client.returncode, json.loads(said)["state"]) == (0, "succeeded")
    os.close(reading)
    os.close(writing)


def test_a_terminal_is_nobodys_input(cloud: RealCloud, folder: Path) -> None:
    (folder / "job.py").write_text("import sys\nprint('characters:', len(sys.stdin.read()))\n")
    terminal = Terminal(cloud, folder, source=(folder / "job.py").read_text())
    terminal.press(b"not for the program\n")
    assert terminal.finish() == 0, terminal.lines
    assert "characters: 0" in terminal.lines


def test_a_pipe_before_a_terminal(cloud: RealCloud, folder: Path) -> None:
    """Its screen is ours, its input is not; who has had enough leaves with Ctrl-C."""
    reading, writing = os.pipe()
    terminal = Terminal(cloud, folder, "--name", "piped", source=ANSWERS, stdin=reading)
    os.close(reading)
    terminal.read_until(b"ready")
    os.write(writing, b"from the pipe\n")
    terminal.read_until(b"got from the pipe")
    os.close(writing)
    assert terminal.finish() == 0, terminal.lines
    assert "end 14" in terminal.lines
    cloud.skylift("rm", "piped")


def test_whoever_has_cancelled_may_leave_and_the_server_cancels(cloud: RealCloud, folder: Path) -> None:
    source = "import signal\nfor each in (2, 15): signal.signal(each, signal.SIG_IGN)\n" + ANSWERS
    reading, writing = os.pipe()
    terminal = Terminal(cloud, folder, "--name", "half-told", source=source, stdin=reading)
    os.close(reading)
    terminal.read_until(b"ready")
    for words in (b"SIGINT", b"Cancelling", b"The server cancels"):
        terminal.press(b"\x03")
        terminal.read_until(words)
    assert terminal.finish() == 130, terminal.lines
    os.close(writing)
    assert not any("Left running" in line for line in terminal.lines)
    cloud.skylift("wait", "half-told", check=False)
    assert ended_job(cloud, "half-told")[0] == "cancelled"
    cloud.skylift("rm", "half-told")


def test_a_client_that_dies_makes_no_end_of_file(cloud: RealCloud, folder: Path) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    client = cloud.popen("run", "--name", "orphaned", "job.py", cwd=folder, **pipes)
    assert client.stdin is not None and client.stdout is not None
    assert client.stdout.readline() == b"ready\n"
    client.stdin.write(b"half of it\n")
    client.stdin.flush()
    assert client.stdout.readline() == b"got half of it\n"
    client.kill()
    client.wait()
    client.stdin.close()
    # What the program wrote came by SSH. That it runs may reach the record a moment later.
    until(lambda: [each["state"] for each in jobs(cloud) if each["name"] == "orphaned"] == ["running"], "its state")
    cloud.skylift("cancel", "orphaned")
    assert cloud.skylift("logs", "orphaned").stdout == "ready\ngot half of it\n"
    cloud.skylift("rm", "orphaned")


def test_a_kept_server_has_each_jobs_own(cloud: RealCloud, folder: Path) -> None:
    said = []
    for word in (b"first\n", b"second, and longer\n"):
        command = cloud.command("run", "-q", "--keep", "5m", "--name", f"own-{len(word)}", "job.py")
        done = subprocess.run(command, input=word, capture_output=True, check=False, cwd=folder, env=cloud.environment)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said == [b"ready\ngot first\nend 6\n", b"ready\ngot second, and longer\nend 19\n"]
    cloud.skylift("cancel", "own-19", check=False)


def test_the_server_that_comes_after_has_it_from_the_beginning(cloud: RealCloud, folder: Path) -> None:
    source = "import os, signal\nprint('attempt', os.environ['SKYLIFT_ATTEMPT'], flush=True)\n" + ANSWERS
    (folder / "job.py").write_text(source)
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        wanted = ("run", "--spot", "--name", "fed-again", "job.py")
        client = cloud.popen(*wanted, cwd=folder, stdin=subprocess.PIPE, stdout=out, stderr=err)
        assert client.stdin is not None
        client.stdin.write(b"one\n")
        client.stdin.flush()
        until(lambda: b"got one" in (folder / "out").read_bytes(), "the first line's answer")
        (first,) = [each["instance"] for each in jobs(cloud) if each["name"] == "fed-again"]
        cloud.skylift("cloud", "interrupt", first)
        until(lambda: b"attempt 2" in (folder / "out").read_bytes(), "the next server")
        client.stdin.write(b"two\n")
        client.stdin.close()
        assert client.wait() == 0, (folder / "err").read_text()
    said = (folder / "out").read_text().splitlines()
    assert said == ["attempt 1", "ready", "got one", "attempt 2", "ready", "got one", "got two", "end 8"]
    cloud.skylift("rm", "fed-again")
