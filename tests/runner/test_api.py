"""`import skylift`: the words of the command line, with values."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from ports import quiet_port
from runner_bench import Machine
from waiting_job import WAITS, go
from whole_run import host

import skylift
from skylift.runner.job.settings import Settings
from skylift.runner.remote.api import Api


@pytest.fixture
def here(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr("skylift.api.settings_for", lambda on, access=None, **_: settings)
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
        outcome = skylift.run(Path("job.py"), args=["-x"], out="r", env={"WORD": "hush"}, max_time=60, stdout=shown)
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
    with pytest.raises(skylift.UsageError, match="--memory"):
        skylift.run("job.py", memory="lots")


def test_submit_and_what_a_job_can(here: Path, api: Api, machine: Machine, tmp_path: Path) -> None:
    (here / "job.py").write_text(WAITS)
    with host(api, machine):
        job = skylift.submit("job.py", out=["result.txt"], name="nightly")
    assert repr(job) == "skylift.Job('nightly')"
    assert [each.name for each in skylift.jobs()] == ["nightly"]
    go(machine)
    assert b"".join(job.logs(follow=True)) == b"ready\ndone\n"
    assert b"".join(job.logs(stderr=True)) == b"a complaint\n"
    again = skylift.Job("nightly")
    assert again.wait().exit_code == 7
    assert again.state == "failed"
    assert [path.name for path in again.results(tmp_path / "there")] == ["result.txt"]
    machine.wait()
    assert again.attach(tmp_path / "third").stdout_tail == "ready\ndone\n"
    again.rm()
    with pytest.raises(skylift.UsageError, match="nightly"):
        skylift.Job("nightly")


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
    with pytest.raises(skylift.UsageError, match="list of words"):
        skylift.run(command="make")
    with pytest.raises(TypeError, match="typ"):
        skylift.run("job.py", typ="t3.small")
    with pytest.raises(skylift.UsageError, match=r"missing\.py"):
        skylift.submit("missing.py")
