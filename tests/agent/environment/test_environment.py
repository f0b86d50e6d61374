"""Python environments made by uv on the server, from packages that the test lays beside the job: no index is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.agent_bench import Machine
from support.leaf_package import PROGRAM, project
from support.shipped_job import Shipped

from skylift.client.job.job import Program
from skylift.client.plan.plan_job import Order


def run(shipped: Shipped, machine: Machine, **order: Any) -> dict[str, Any]:
    shipped.ship_order(Order(Program("script", "job.py"), **order))
    shipped.boot()
    machine.wait()
    return shipped.status()


def test_script_header(shipped: Shipped, uv: Machine) -> None:
    header = '# /// script\n# requires-python = ">=3.9"\n# dependencies = ["leaf<2"]\n# ///\n'
    (shipped.folder / "job.py").write_text(header + PROGRAM)
    status = run(shipped, uv)
    assert (status["state"], shipped.stream("stdout")) == ("succeeded", b"1.0 True\n"), uv.console()
    assert shipped.stream("stderr") == b"", "what uv says is not the program's output"


def test_requirements_beside_the_script(shipped: Shipped, uv: Machine) -> None:
    (shipped.folder / "job.py").write_text(PROGRAM)
    (shipped.folder / "requirements.txt").write_text("leaf==2.0\n")
    status = run(shipped, uv)
    assert (status["state"], shipped.stream("stdout")) == ("succeeded", b"2.0 True\n"), uv.console()


def test_project_without_a_lock(shipped: Shipped, uv: Machine) -> None:
    project(shipped.folder, "leaf<2")
    status = run(shipped, uv, outputs=["*.lock"])
    assert (status["state"], shipped.stream("stdout")) == ("succeeded", b"1.0 True\n"), uv.console()
    manifest = shipped.manifest()
    assert (manifest.results, manifest.left_behind) == ((), ()), "what uv leaves is not the program's"


def test_project_with_a_lock_gets_what_the_lock_says(shipped: Shipped, uv: Machine) -> None:
    project(shipped.folder, "leaf==1.0")
    lock(shipped.folder, uv)
    # 2.0 is what would be found now.
    project(shipped.folder, "leaf")
    status = run(shipped, uv)
    assert (status["state"], shipped.stream("stdout")) == ("succeeded", b"1.0 True\n"), uv.console()


def lock(folder: Path, machine: Machine) -> None:
    tool = str(machine.root / "tools" / "uv")
    subprocess.run([tool, "lock", "--quiet"], cwd=folder, env={**os.environ, **machine.environment}, check=True)


@pytest.mark.parametrize("kind", ["nothing", "header", "requirements"])
def test_python_that_was_asked_for(shipped: Shipped, uv: Machine, kind: str) -> None:
    version = other_python()
    header = '# /// script\n# dependencies = ["leaf"]\n# ///\n' if kind == "header" else ""
    (shipped.folder / "job.py").write_text(header + "import sys; print('%d.%d' % sys.version_info[:2])")
    if kind == "requirements":
        (shipped.folder / "requirements.txt").write_text("leaf\n")
    status = run(shipped, uv, python=version)
    assert (status["state"], shipped.stream("stdout")) == ("succeeded", f"{version}\n".encode()), uv.console()


def other_python() -> str:
    """A version that this machine has; another one than plain `python3`, where there is such a one."""
    plain = Path(shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or "").resolve().name
    found = {path.name for path in Path("/usr/bin").glob("python3.*") if path.name[8:].isdigit()}
    return min(found - {plain} or {plain}).removeprefix("python")


def test_python_that_is_not_there(shipped: Shipped, uv: Machine) -> None:
    (shipped.folder / "job.py").write_text("print('ran')")
    status = run(shipped, uv, python="3.99")
    assert (status["state"], status["exit_code"]) == ("environment-failed", 123)
    assert "3.99" in status["detail"]
    assert shipped.stream("stdout") == b""


@pytest.mark.parametrize("form", ["header", "requirements"])
def test_dependency_that_does_not_resolve(shipped: Shipped, uv: Machine, form: str) -> None:
    header = '# /// script\n# dependencies = ["leaf==9"]\n# ///\n' if form == "header" else ""
    (shipped.folder / "job.py").write_text(header + "print('ran')")
    (shipped.folder / "requirements.txt").write_text("leaf==9\n")
    status = run(shipped, uv)
    assert (status["state"], status["exit_code"]) == ("environment-failed", 123)
    assert "leaf==9" in status["detail"]
    assert "unsatisfiable" in status["detail"]
    assert shipped.stream("stdout") == b""
    assert uv.off_commands()[-1] == "shutdown -P now"


def test_server_without_uv_says_so(shipped: Shipped, machine: Machine) -> None:
    (shipped.folder / "job.py").write_text(PROGRAM)
    (shipped.folder / "requirements.txt").write_text("leaf\n")
    if shutil.which("uv", path=machine.environment["PATH"]):
        pytest.fail("this machine has a uv in its system folders; the test needs one without")
    status = run(shipped, machine)
    assert (status["state"], status["exit_code"]) == ("environment-failed", 123)
    assert "no uv" in status["reason"]
