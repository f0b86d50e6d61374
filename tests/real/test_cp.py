"""`skylift cp` with a job that runs, one whose server was kept, and one that has ended."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.running_job import RunningJob
from test_run_terminal import Terminal

pytestmark = pytest.mark.real

# Works in a folder of its own below the project's; what it waits for comes by `skylift cp`.
WORKS = """
import os, sys, time
os.makedirs("out/deep")
open("out/deep/a.txt", "w").write("so far")
os.symlink("/etc", "out/way")
print("ready", flush=True)
while not os.path.exists("go"):
    time.sleep(0.02)
open("result.txt", "w").write(open("go").read())
"""


@pytest.fixture
def folder(cloud: RealCloud, request: pytest.FixtureRequest) -> Path:
    found = cloud.work / str(request.node.name)
    (found / "sub").mkdir(parents=True)
    (found / "pyproject.toml").write_text("")
    return found


def test_files_come_and_go_while_a_job_runs_and_after_it(cloud: RealCloud, folder: Path) -> None:
    here = folder / "sub"
    job = RunningJob(cloud, here, "--name", "copied", "--keep", "5m", "--out", "result.txt", source=WORKS)

    def cp(*words: str, check: bool = True, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = cloud.command("cp", *words)
        done = subprocess.run(
            command, cwd=here, env=cloud.environment, input=stdin, capture_output=True, check=False, timeout=300
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    # Relative to where the program runs, which is not the project's root; a file on standard output is nothing else.
    assert cp("copied:out/deep/a.txt", "-").stdout == b"so far"
    cp("-r", "copied:out", "brought")
    assert (here / "brought" / "deep" / "a.txt").read_text() == "so far"
    assert [each.name for each in (here / "brought").iterdir()] == ["deep"], "the link to /etc is left out"
    told = cp("copied:out/deep/a.txt", "b.txt").stderr.decode()
    assert "Copy: 1 file, 6 B" in told
    assert cp("-q", "copied:out/deep/a.txt", "b.txt").stderr == b""
    assert b"PRETTY_NAME" in cp("copied:/etc/os-release", "-").stdout

    many = here / "many"
    many.mkdir()
    for number in range(300):
        (many / f"{number}.bin").write_bytes(os.urandom(number))
    cp("-r", "many", "copied:out/")
    cp("-r", "copied:out/many", "again")
    assert {each.name: each.read_bytes() for each in (here / "again").iterdir()} == {
        each.name: each.read_bytes() for each in many.iterdir()
    }

    for words, says in (
        (("copied:nothing", "."), "There is no nothing in job/sub on the server."),
        (("copied:out", "."), "-r copies it"),
        (("copied:out/deep/a.txt", "nowhere/"), "There is no folder nowhere"),
        (("many/1.bin", "copied:/usr/x"), "may not use /usr/x"),
        (("nobody:a", "."), "no job called 'nobody'"),
    ):
        refused = cp(*words, check=False)
        assert refused.returncode in (2, 125)
        assert says in refused.stderr.decode()
        assert b"Traceback" not in refused.stderr

    # A disk here that is full: what was there stays, and nothing half written is left.
    small = here / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], check=True)
    try:
        (small / "os-release").write_text("old")
        cloud.skylift("ssh", "copied", "head -c 1000000 /dev/urandom > job/sub/out/os-release")
        full = cp("copied:out/os-release", "small", check=False)
        assert full.returncode == 125
        assert b"os-release cannot be written here: No space left on device." in full.stderr
        assert [(each.name, each.read_text()) for each in small.iterdir()] == [("os-release", "old")]
    finally:
        subprocess.run(["umount", small], check=True)

    # The program sees what was sent when it is whole; its server is kept, and takes files still.
    cp("-", "copied:go", stdin=b"from here")
    assert job.finish()[0] == 0
    assert (here / "result.txt").read_text() == "from here"
    assert cp("copied:result.txt", "-").stdout == b"from here"

    cloud.skylift("cancel", "copied")
    gone = cp("copied:result.txt", "-", check=False)
    assert (gone.returncode, gone.stdout) == (2, b"")
    assert b"has ended, and its server is gone" in gone.stderr
    assert b"skylift results copied" in gone.stderr


def test_a_terminal_shows_how_far_it_is(cloud: RealCloud, folder: Path) -> None:
    source = WORKS.replace("os.symlink", "open('big', 'wb').truncate(96 << 20); os.symlink")
    job = RunningJob(cloud, folder / "sub", "--name", "shown", source=source)
    terminal = Terminal(cloud, folder, words=("cp", "shown:big", "big.bin"))
    assert terminal.finish() == 0, terminal.lines
    assert b"of 1 file, " in terminal.shown
    assert b" of 96.0 MiB" in terminal.shown
    assert any(line.startswith("✓ Copy") and line.endswith("1 file, 96.0 MiB") for line in terminal.lines)
    assert (folder / "big.bin").stat().st_size == 96 << 20
    cloud.skylift("cp", "sub/job.py", "shown:go", cwd=folder)
    assert job.finish()[0] == 0
