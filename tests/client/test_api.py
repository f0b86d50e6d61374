"""`import skylift`: the words of the command line, with values."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from support.agent_bench import Machine, until
from support.ports import quiet_port
from support.waiting_job import WAITS, go
from support.whole_run import host

import skylift
from skylift.client.job.settings import Settings
from skylift.client.launch.server import live_servers
from skylift.client.remote.api import Api


@pytest.fixture
def here(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr("skylift.python.work.settings_for", lambda on, access=None, **_: settings)
    return folder


def test_importing_it_imports_nothing_else() -> None:
    source = "import sys, skylift; print([name for name in sys.modules if name.startswith(('skylift.', 'boto'))])"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "['skylift.version']\n"
    assert all(getattr(skylift, name) for name in skylift.__all__)
    with pytest.raises(AttributeError):
        _ = skylift.nothing  # type: ignore[attr-defined]


def test_run(here: Path, api: Api, machine: Machine) -> None:
    (here / "job.py").write_text(
        "import os, sys\nprint(sys.argv[1:], os.environ['WORD'])\nprint('err', file=sys.stderr)\n"
        "open('r', 'w').write('42')\nsys.exit(3)\n"
    )
    shown = io.BytesIO()
    with host(api, machine):
        outcome = skylift.run(Path("job.py"), "-x", out=Path("r"), env={"WORD": "hush"}, max_time=60, stdout=shown)
    machine.wait()
    assert (outcome.exit_code, outcome.state) == (3, "failed")
    assert (outcome.stdout_tail, outcome.stderr_tail) == ("['-x'] hush\n", "err\n")
    assert shown.getvalue() == b"['-x'] hush\n"
    assert [path.read_text() for path in outcome.paths] == ["42"]


def test_a_server_by_what_it_has_to_have(here: Path, api: Api, machine: Machine) -> None:
    (here / "job.py").write_text("print(1)\n")
    with host(api, machine):
        outcome = skylift.run("job.py", cpu=2, memory="3GiB")
    machine.wait()
    assert outcome.choice is not None
    assert outcome.choice["wanted"] == {"cpu": 2, "memory_mib": 3072}
    assert outcome.instance_type == outcome.choice["type"]
    assert outcome.price is not None
    assert outcome.price.as_json()["instance_type"] == outcome.instance_type
    with pytest.raises(skylift.UsageError, match="no instance type"):
        skylift.run("job.py", cpu=4096)
    with pytest.raises(skylift.UsageError, match=r"^skylift\.run\(\): memory 'lots' is not a size"):
        skylift.run("job.py", memory="lots")


def test_submit_and_what_a_job_can(here: Path, api: Api, machine: Machine, tmp_path: Path) -> None:
    (here / "job.py").write_text(WAITS)
    with host(api, machine):
        job = skylift.submit("job.py", out=["result.txt"], name="nightly")
    assert repr(job) == "skylift.Job('nightly')"
    assert [each.name for each in skylift.jobs()] == ["nightly"]
    go(machine)
    assert list(job.logs(follow=True)) == ["ready", "done"]
    assert list(job.logs(stderr=True)) == ["a complaint"]
    again = skylift.Job("nightly")
    assert again.wait().exit_code == 7
    with pytest.raises(skylift.JobFailed, match=r"^nightly: failed, exit code 7\.") as caught:
        again.wait(check=True)
    assert caught.value.outcome.exit_code == caught.value.exit_code == 7
    assert again.state == "failed"
    assert [path.name for path in again.results(tmp_path / "there")] == ["result.txt"]
    machine.wait()
    assert again.attach(tmp_path / "third").stdout_tail == "ready\ndone\n"
    again.rm()
    with pytest.raises(skylift.UsageError, match="nightly"):
        skylift.Job("nightly")


def test_a_program_that_fails_is_an_error_to_who_wants_one(here: Path, api: Api, machine: Machine) -> None:
    """As in a notebook: the caller is in a running loop. The results are here, and its last words with the error."""
    (here / "job.py").write_text("open('r', 'w').write('42')\nraise ValueError('of no use')\n")
    steps: list[tuple[str, int, int]] = []

    async def cell() -> None:
        skylift.run("job.py", out="r", check=True, progress=lambda *told: steps.append(told))

    with host(api, machine), pytest.raises(skylift.JobFailed, match="failed, exit code 1") as caught:
        asyncio.run(cell())
    machine.wait()
    assert [path.read_text() for path in caught.value.outcome.paths] == ["42"]
    assert caught.value.__notes__[0].endswith("\nValueError: of no use")
    assert ("results", 2, 2) in steps
    assert steps.index(("upload", 0, 0)) < steps.index(("program", 0, 0)) < steps.index(("results", 0, 0))


def test_who_has_seen_enough_of_a_log_closes_it(here: Path, api: Api, machine: Machine) -> None:
    (here / "job.py").write_text(WAITS)
    with host(api, machine):
        job = skylift.submit("job.py", name="nightly")
    lines = job.logs(follow=True)
    reading = {thread for thread in threading.enumerate() if thread.name == "skylift"}
    assert next(lines) == "ready"
    mine = [thread for thread in threading.enumerate() if thread.name == "skylift" and thread not in reading]
    lines.close()
    for thread in mine:
        thread.join(10)
    assert mine
    assert not any(thread.is_alive() for thread in mine)
    go(machine)
    machine.wait()


async def test_the_async_form(here: Path, api: Api, machine: Machine, tmp_path: Path) -> None:
    (here / "job.py").write_text(WAITS)
    with host(api, machine):
        job = await skylift.aio.submit("job.py", out=["result.txt"], name="nightly")
    assert repr(job) == "skylift.aio.Job('nightly')"
    assert [each.name for each in await skylift.aio.jobs()] == ["nightly"]
    lines = job.logs(follow=True)
    assert await anext(lines) == "ready"
    # The loop is free while others wait.
    waiting = asyncio.ensure_future(job.wait())
    await asyncio.to_thread(go, machine)
    assert [line async for line in lines] == ["done"]
    assert (await waiting).exit_code == 7
    assert await job.state() == "failed"
    assert [path.name for path in await job.results(tmp_path / "there")] == ["result.txt"]
    await asyncio.to_thread(machine.wait)
    again = skylift.aio.Job("nightly")
    with pytest.raises(skylift.JobFailed):
        await again.attach(tmp_path / "third", check=True)
    await again.rm()
    with pytest.raises(skylift.UsageError, match="nightly"):
        await skylift.aio.Job("nightly").state()


async def test_who_cancels_the_task_presses_ctrl_c(here: Path, api: Api) -> None:
    """Nothing has been started yet, and nothing is left."""
    (here / "job.py").write_text("print(1)\n")
    running = asyncio.ensure_future(skylift.aio.run("job.py"))
    await asyncio.to_thread(until, partial(live_servers, api), "the instance")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert live_servers(api) == []


def test_what_it_reads(here: Path, api: Api, machine: Machine) -> None:
    (here / "job.py").write_text("import sys\nprint(sys.stdin.read())\n")
    with host(api, machine):
        outcome = skylift.run("job.py", stdin=b"from Python")
    machine.wait()
    assert outcome.stdout_tail == "from Python\n"


def test_what_a_job_reads_that_is_left_and_from_a_file(here: Path, api: Api, machine: Machine) -> None:
    (here / "job.py").write_text("import sys\nprint(sys.stdin.read())\n")
    (here / "data").write_text("the head, the rest")
    with host(api, machine), (here / "data").open("rb", buffering=0) as file:
        file.seek(10)
        job = skylift.submit("job.py", stdin=file)
    assert list(job.logs(follow=True)) == ["the rest"]
    machine.wait()


def test_what_cannot_be_read(here: Path) -> None:
    (here / "job.py").write_text("print(1)\n")
    with pytest.raises(skylift.UsageError, match=r"stdin: missing\.txt cannot be read: No such file"):
        skylift.run("job.py", stdin="missing.txt")
    with pytest.raises(TypeError, match=r"skylift.run\(\): stdin must be bytes, .* not BytesIO"):
        skylift.run("job.py", stdin=io.BytesIO(b"x"))
    with pytest.raises(TypeError, match=r"skylift.submit\(\): stdin must be bytes, .* not int"):
        skylift.submit("job.py", stdin=5)  # type: ignore[arg-type]
    with pytest.raises(skylift.UsageError, match="interactive"):
        skylift.run("job.py", stdin=b"x", interactive=True)


def test_an_interactive_job_and_a_port(here: Path, api: Api, machine: Machine) -> None:
    (here / "job.py").write_text("import os\nprint(os.isatty(0), os.get_terminal_size())\n")
    with host(api, machine):
        outcome = skylift.run("job.py", interactive=True, forward=[quiet_port(), f"{quiet_port()}:80"])
    machine.wait()
    assert outcome.stdout_tail == "True os.terminal_size(columns=80, lines=24)\r\n"


def test_what_is_wrong_is_raised(here: Path) -> None:
    with pytest.raises(skylift.UsageError, match="not a port"):
        skylift.run("job.py", forward="http")
    with pytest.raises(skylift.UsageError, match="what to run"):
        skylift.run()
    with pytest.raises(TypeError, match=r"skylift.run\(\): command must be Sequence\[str\] or None, not str"):
        skylift.run(command="make")
    with pytest.raises(skylift.UsageError, match="list of words"):
        skylift.run(command=[])
    with pytest.raises(TypeError, match="typ"):
        skylift.run("job.py", typ="t3.small")
    with pytest.raises(skylift.UsageError, match=r"missing\.py"):
        skylift.submit("missing.py")
