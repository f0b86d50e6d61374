"""`skylift run -d`: the job is its server's, and whoever has the account's credentials can do the rest."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.real_server import until
from support.running_job import WAITS, ended_job, jobs, roles, up

from skylift.client.attach import Attach
from skylift.client.job.outcome import Outcome
from skylift.client.job.settings import Credentials, NewestImage, Secret, Settings
from skylift.client.remote.account import Account, open_account
from skylift.client.steps import Clock
from skylift.client.watch.watched_job import find_job

pytestmark = pytest.mark.real


class Screen:
    """A screen that keeps what it is shown."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.streams = {"stdout": b"", "stderr": b""}

    def begin(self, step: str) -> None: ...
    def done(self, step: str, detail: str, seconds: float) -> None: ...
    def progress(self, step: str, done: int, total: int, files: tuple[int, int] | None = None) -> None: ...
    def note(self, text: str) -> None:
        self.notes.append(text)

    def output(self, stream: str, data: bytes) -> None:
        self.streams[stream] += data


@pytest.fixture
def folder(cloud: RealCloud, request: pytest.FixtureRequest) -> Iterator[Path]:
    found = cloud.work / request.node.name
    found.mkdir()
    (found / "job.py").write_text(WAITS)
    before, up_before = roles(cloud), up(cloud)
    yield found
    until(lambda: up(cloud) <= up_before, "the servers of jobs to be gone")
    assert roles(cloud) <= before


def elsewhere(cloud: RealCloud, keys: Path) -> Account:
    """Another machine: it has credentials, and neither the key that the server was started with nor its files."""
    root = cloud.home.root_key()
    assert root is not None
    return open_account(
        Settings(
            region=cloud.endpoint.region,
            key_dir=keys,
            image=NewestImage("skylift-debian-13-*", ("amazon",)),
            caller_address=lambda: cloud.endpoint.loopback,
            endpoint_url=cloud.endpoint.url,
            credentials=Credentials(root.access_key_id, Secret(root.secret_access_key)),
        )
    )


def test_attached_to_left_and_collected_from_another_machine(cloud: RealCloud, folder: Path) -> None:
    """Who came to look does not end what another started."""
    name = cloud.skylift("run", "-d", "--out", "result.txt", "job.py", cwd=folder).stdout.strip()
    assert name in up(cloud)
    there = folder / "elsewhere"
    there.mkdir()
    account = elsewhere(cloud, there / "keys")

    async def attend(screen: Screen, *, leave: bool) -> Outcome:
        session = Attach(find_job(account, name, there), screen, Clock(screen))
        loop = asyncio.get_running_loop()

        def seen(stream: str, data: bytes) -> None:
            screen.streams[stream] += data
            if stream == "stdout" and leave:
                # What only SSH can bring.
                loop.call_soon_threadsafe(session.interrupt)

        screen.output = seen  # type: ignore[method-assign]
        return await session.run()

    first, second = Screen(), Screen()
    left = asyncio.run(attend(first, leave=True))
    assert (left.state, left.exit_code, first.streams["stdout"]) == ("detached", 130, b"ready\n")
    assert name in up(cloud)
    cloud.skylift("ssh", name, "touch", "job/go")
    outcome = asyncio.run(attend(second, leave=False))
    assert (outcome.exit_code, second.streams["stdout"]) == (7, b"ready\ndone\n")
    assert (there / "result.txt").read_text() == "42"
    assert ended_job(cloud, name) == ("failed", 7)


def test_by_the_command_line(cloud: RealCloud, folder: Path) -> None:
    cloud.skylift("run", "-d", "--name", "detached", "--out", "result.txt", "job.py", cwd=folder)
    with cloud.popen("logs", "-f", "detached", cwd=folder, stdout=-1) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == b"ready\n"
        cloud.skylift("ssh", "detached", "touch", "job/go")
        assert following.stdout.read() == b"done\n"
        assert following.wait() == 0
    done = cloud.skylift("wait", "detached", check=False)
    assert done.returncode == 7, done.stderr
    there = folder / "there"
    assert cloud.skylift("results", "detached", str(there), cwd=folder).stdout == "result.txt\n"
    assert (there / "result.txt").read_text() == "42"
    assert cloud.skylift("logs", "detached").stdout == "ready\ndone\n"
    until(lambda: "detached" not in up(cloud), "the server to be gone")
    swept = json.loads(cloud.skylift("sweep", "--json").stdout)
    assert [each for each in swept if each["job"] == "detached"] == []
    cloud.skylift("rm", "detached")
    assert "detached" not in [each["name"] for each in jobs(cloud, "--all")]


def test_results_that_a_table_asks_for_replace_nothing_that_git_tracks(cloud: RealCloud, folder: Path) -> None:
    """By the time that they come, the user has put a file of that name under version control."""
    (folder / "pyproject.toml").write_text('[tool.skylift]\nout = ["result.txt"]\n')
    (folder / "job.py").write_text("open('result.txt', 'w').write('42')\n")
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    cloud.skylift("run", "-d", "--name", "spared", "job.py", cwd=folder)
    assert cloud.skylift("wait", "spared", check=False).returncode == 0
    (folder / "result.txt").write_text("mine")
    subprocess.run(["git", "-C", str(folder), "add", "result.txt"], check=True)
    brought = cloud.skylift("results", "spared", cwd=folder)
    assert "result.txt (git tracks another one here, and no --out asked for it)" in " ".join(brought.stderr.split())
    assert (folder / "result.txt").read_text() == "mine"
    assert cloud.skylift("results", "spared", "there", cwd=folder).stdout == "result.txt\n"
    asked = cloud.skylift("run", "job.py", cwd=folder, check=False)
    assert (asked.returncode, "replaces what git tracks (result.txt)" in asked.stderr) == (2, True)
    cloud.skylift("run", "--out", "result.txt", "job.py", cwd=folder)
    assert (folder / "result.txt").read_text() == "42"
    cloud.skylift("rm", "spared")


def test_who_reads_the_log_may_go(cloud: RealCloud, folder: Path) -> None:
    """`logs -f | head` ends when head has seen enough, and not when the job does."""
    job = ("--name", "reader-gone", "job.py")
    (folder / "job.py").write_text(f"print(1, 2, sep='\\n')\n{WAITS}")
    cloud.skylift("run", "-d", "-q", *job, cwd=folder)
    follow = shlex.join(cloud.command("logs", "-f", "reader-gone"))
    done = subprocess.run(
        ["bash", "-c", f'{follow} | head -n 3; echo "${{PIPESTATUS[0]}}"'],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=folder,
        env=cloud.environment,
        stdin=subprocess.DEVNULL,
    )
    assert done.stdout == "1\n2\nready\n141\n", done.stderr
    # What the program wrote came by SSH. That it runs may reach the record a moment later.
    until(lambda: [each["state"] for each in jobs(cloud) if each["name"] == "reader-gone"] == ["running"], "its state")
    cloud.skylift("cancel", "reader-gone")
    cloud.skylift("rm", "reader-gone")
