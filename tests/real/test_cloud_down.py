"""`skylift cloud down` while jobs run: it says which, asks, and has their results before they end."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.real_server import until
from support.running_job import ended_job, jobs

pytestmark = pytest.mark.real

HOLDS = """
import signal, sys, time
def end(*_):
    open("result.txt", "w").write("as far as it came")
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
open("up", "w")
while True:
    time.sleep(0.05)
"""


@pytest.fixture
def folder(own_cloud: RealCloud, request: pytest.FixtureRequest) -> Iterator[Path]:
    found = own_cloud.work / request.node.name
    found.mkdir()
    (found / "job.py").write_text(HOLDS)
    yield found


def test_jobs_are_named_and_ended_with_their_results(own_cloud: RealCloud, folder: Path) -> None:
    own_cloud.skylift("run", "-d", "-q", "--name", "holds", "--out", "result.txt", "job.py", cwd=folder)
    until(lambda: [each["state"] for each in jobs(own_cloud)] == ["running"], "the program to run")
    until(lambda: own_cloud.skylift("ssh", "holds", "test", "-e", "job/up", check=False).returncode == 0, "its handler")
    refused = own_cloud.skylift("cloud", "down", check=False)
    assert refused.returncode == 2
    assert "1 job would end with the cloud: holds." in refused.stderr
    assert "skylift cloud down --force" in refused.stderr
    shown = answered(own_cloud, "n", "cloud", "down")
    assert "holds" in shown
    assert "job.py" in shown
    assert "The cloud stays up, and its jobs run." in shown
    assert [each["state"] for each in jobs(own_cloud)] == ["running"]
    done = own_cloud.skylift("cloud", "down", "--force")
    assert "holds: cancelled" in done.stderr
    assert own_cloud.traces() == []
    looked = own_cloud.skylift("ps", check=False)
    assert (looked.returncode, looked.stdout) == (2, "")
    assert "was taken down" in looked.stderr
    assert own_cloud.traces() == []
    own_cloud.up()
    assert ended_job(own_cloud, "holds") == ("cancelled", 3)
    brought = json.loads(own_cloud.skylift("results", "--json", "holds", cwd=folder).stdout)
    assert [each["path"] for each in brought] == ["result.txt"]
    assert (folder / "result.txt").read_text() == "as far as it came"


def test_a_server_that_is_only_kept_asks_nobody(own_cloud: RealCloud, folder: Path) -> None:
    own_cloud.skylift("run", "-q", "--name", "kept", "--keep", "10m", "--", "true", cwd=folder)
    assert [each["state"] for each in jobs(own_cloud)] == ["succeeded"]
    assert own_cloud.skylift("cloud", "down").stdout.endswith("The cloud is down.\n")
    own_cloud.up()


def answered(cloud: RealCloud, answer: str, *arguments: str) -> str:
    """What a terminal shows of a command whose question is answered."""
    control, terminal = pty.openpty()
    with subprocess.Popen(
        cloud.command(*arguments),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=cloud.work,
        env={**cloud.environment, "TERM": "xterm"},
        start_new_session=True,
    ) as process:
        os.close(terminal)
        shown = b""
        while b"[y/N]" not in shown:
            shown += os.read(control, 4096)
        os.write(control, f"{answer}\n".encode())
        try:
            while chunk := os.read(control, 4096):
                shown += chunk
        except OSError:
            pass  # the other side has been closed
        assert process.wait() == 2
    os.close(control)
    return shown.decode()
