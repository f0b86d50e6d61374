"""What a stranger's project may try so that its code gets into the environments of other jobs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kept_prefix import KeptPrefix
from support.agent_bench import Machine
from support.leaf_package import PROGRAM, project, wheel
from support.package_index import sdist
from support.shipped_job import Shipped

from skylift.agent.environment import prebuilt as prebuilt_on_server
from skylift.agent.environment.cached_environment import CachedEnvironment
from skylift.agent.environment.environment import EnvironmentBuilder
from skylift.agent.environment.prebuilt import names_at
from skylift.agent.job.outcome import Ended
from skylift.agent.remote.aws import Unreachable
from skylift.agent.remote.prefix import Prefix
from skylift.client.job.job import Program
from skylift.client.plan.plan_job import Order
from skylift.client.ship import recipe
from skylift.client.ship.prebuilt import EnvironmentPlace
from skylift.contract.record import Environment as WantedEnvironment
from skylift.contract.states import State

PLACE = "envs/recipe/ami-1/me-0001"
HEADER = '# /// script\n# dependencies = ["leaf<2"]\n# ///\n'


class Server:
    """A server that builds an environment for all, or for its own project only."""

    def __init__(self, shipped: Shipped, machine: Machine) -> None:
        self.shipped, self.machine, self.packages = shipped, machine, machine.root / "packages"

    def run(self, prebuilt: EnvironmentPlace | None = None, **order: Any) -> dict[str, Any]:
        prebuilt = prebuilt or EnvironmentPlace(PLACE)
        self.shipped.ship_order(Order(Program("script", "job.py"), **order), prebuilt=prebuilt.encode())
        self.shipped.boot()
        self.machine.wait()
        return self.shipped.status()

    def pin(self, name: str) -> Any:
        return json.loads(self.shipped.read(f"{PLACE}/{name}.json") or b"null")

    def needs(self, *lines: str) -> None:
        (self.shipped.folder / "requirements.txt").write_text("".join(f"{line}\n" for line in lines))
        (self.shipped.folder / "job.py").write_text(PROGRAM)

    @property
    def is_proven(self) -> bool:
        """Whether anybody takes what was built; else it is pinned for the jobs of its source."""
        proven, own = self.pin("proven"), self.pin("pin")
        assert (own is None) if proven else own, self.machine.console()
        return bool(proven)


@pytest.fixture
def server(shipped: Shipped, uv: Machine) -> Server:
    return Server(shipped, uv)


@pytest.mark.parametrize("kind", ["script", "requirements", "project"])
def test_the_python_of_an_environment_in_the_jobs_folder_is_not_run(server: Server, tmp_path: Path, kind: str) -> None:
    """A header can bring it along with `in`, which needs no yes."""
    ran, folder = server.machine.root / "ran", server.shipped.folder
    ran.touch()
    ran.chmod(0o666)
    if kind == "project":
        project(folder, "leaf<2")
    elif kind == "requirements":
        server.needs("leaf==1.0")
    (folder / "job.py").write_text((HEADER if kind == "script" else "") + PROGRAM)
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/pyvenv.cfg").write_text("home = /usr/bin\n")
    python = folder / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\necho "$@" >>{ran}\nexec /usr/bin/python3 "$@"\n')
    python.chmod(0o755)
    status = server.run(inputs=[".venv"])
    assert (status["state"], status["environment"]) == ("succeeded", "built"), server.machine.console()
    assert ran.read_text() == ""
    assert server.is_proven


PINS = """
import json, os, time, urllib.request
def put(name, body):
    url = os.environ["AWS_ENDPOINT_URL"] + "/BUCKET/PLACE/" + name
    more = {"If-None-Match": "*", "Authorization": "AWS4-HMAC-SHA256 Credential=a/20261201/us-east-1/s3/aws4_request"}
    try:
        urllib.request.urlopen(urllib.request.Request(url, body, more, method="PUT"))
        open(RAN, "a").write("written ")
    except urllib.error.HTTPError as error:
        open(RAN, "a").write("%d " % error.code)
put("proven.json", json.dumps({"sha256": "66" * 32}).encode())
"""


@pytest.fixture
def ran(server: Server) -> Path:
    found = server.machine.root / "ran"
    found.touch()
    found.chmod(0o666)
    return found


def pinning(server: Server, ran: Path) -> str:
    code = PINS.replace("BUCKET", server.shipped._bucket).replace("PLACE", PLACE)
    return code.replace("RAN", repr(str(ran)))


@pytest.mark.parametrize("kind", ["script", "requirements", "project"])
def test_code_that_builds_a_package_runs_when_nothing_can_be_proven_any_more(
    server: Server, ran: Path, kind: str
) -> None:
    sdist(server.packages, "leaf", "3.0", pinning(server, ran))
    if kind == "requirements":
        server.needs("leaf==3.0")
    if kind == "project":
        project(server.shipped.folder, "leaf==3.0")
    header = HEADER.replace("<2", "==3.0") if kind == "script" else ""
    (server.shipped.folder / "job.py").write_text(header + PROGRAM)
    assert server.run()["state"] == "succeeded", server.machine.console()
    assert server.shipped.stream("stdout") == b"3.0 True\n"
    assert set(ran.read_text().split()) == {"412"}
    assert server.pin("proven") == {}
    assert server.pin("pin")["sha256"] != "66" * 32


@pytest.mark.parametrize("kind", ["script", "requirements", "project"])
def test_no_code_of_a_wheel_runs_before_its_environment_is_pinned(server: Server, ran: Path, kind: str) -> None:
    """Each start of the environment's Python runs a .pth file of it, and uv makes such starts to look at it."""
    hook = f"import os; exec({pinning(server, ran)!r}, {{}})\n"
    wheel(server.packages, "leaf", "1.0", more={"leaf.pth": hook})
    if kind == "requirements":
        server.needs("leaf==1.0")
    if kind == "project":
        project(server.shipped.folder, "leaf<2")
    (server.shipped.folder / "job.py").write_text((HEADER if kind == "script" else "") + PROGRAM)
    assert server.run()["state"] == "succeeded", server.machine.console()
    assert set(ran.read_text().split()) == {"412"}
    assert server.is_proven


def test_the_newest_version_is_taken_also_if_it_has_to_be_built(server: Server, ran: Path) -> None:
    """An older one, which has a wheel, would be another environment than the one that was asked for."""
    sdist(server.packages, "leaf", "3.0", pinning(server, ran))
    server.needs("leaf")
    assert server.run()["state"] == "succeeded", server.machine.console()
    assert server.shipped.stream("stdout") == b"3.0 True\n"
    assert not server.is_proven


@pytest.mark.parametrize("unlisted", ["sitecustomize.py", "leaf.pth", "leaf/__pycache__/x.pyc", "_virtualenv.py"])
def test_a_file_that_no_wheel_lists_is_only_for_its_own_project(server: Server, unlisted: str) -> None:
    wheel(server.packages, "leaf", "1.0", {unlisted: "import os\n"})
    server.needs("leaf==1.0")
    assert server.run()["state"] == "succeeded", server.machine.console()
    assert not server.is_proven


def test_a_file_that_is_another_than_its_wheel_lists_is_only_for_its_own_project(server: Server) -> None:
    wheel(server.packages, "leaf", "1.0", leaf__py="VERSION = '6.6'\n")
    server.needs("leaf==1.0")
    assert server.run()["state"] == "succeeded", server.machine.console()
    assert not server.is_proven


def test_what_comes_without_a_hash_is_only_for_its_own_project(server: Server) -> None:
    settings = server.machine.root / "uv.toml"
    settings.write_text(f'no-index = true\nfind-links = ["{server.packages}"]\npython-downloads = "never"\n')
    (server.shipped.folder / "job.py").write_text(HEADER + PROGRAM)
    assert server.run()["state"] == "succeeded", server.machine.console()
    assert not server.is_proven


def test_a_wheel_that_is_not_the_locks_is_not_installed(server: Server) -> None:
    server.needs(f"leaf==1.0 --hash=sha256:{'0f' * 32}")
    status = server.run()
    assert (status["state"], status["exit_code"]) == ("environment-failed", 123)
    assert "ash mismatch" in status["detail"]
    assert server.pin("proven") == {}


def test_a_lock_with_another_hash_installs_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    project(server.shipped.folder, "leaf==1.0")
    argv = [str(server.machine.root / "tools/uv"), "lock", "--quiet"]
    environment = {**os.environ, **server.machine.environment}
    subprocess.run(argv, cwd=server.shipped.folder, env=environment, check=True)
    lock = server.shipped.folder / "uv.lock"
    # As of an index that is the same from each server.
    monkeypatch.setattr(recipe, "_is_index", lambda url: True)
    lock.write_text(re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0f" * 32, lock.read_text()))
    status = server.run()
    assert (status["state"], status["exit_code"]) == ("environment-failed", 123)
    assert "ash mismatch" in status["detail"]


def test_an_image_that_has_it_pins_nothing_for_others(server: Server) -> None:
    """The program has the right to write pins, where the record names no digest."""
    server.needs("leaf==1.0")
    mark = server.machine.root / "var/lib/skylift/environment"
    mark.parent.mkdir(parents=True)
    mark.write_text(json.dumps({"name": names_at(PLACE)["proven.json"], "lock": None, "imaged": True}))
    python = server.machine.home / ".skylift-venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(shutil.which("python3", path="/usr/bin") or "")
    assert server.run()["environment"] == "imaged"
    assert (server.pin("proven"), server.pin("pin")) == ({}, {})


def test_what_uv_reads_is_written_anew(server: Server) -> None:
    """uv sees nothing of the job but that, and cannot write there."""
    (server.shipped.folder / "job.py").write_text(HEADER + "SECRET = 1\n" + PROGRAM)
    (server.shipped.folder / "uv.toml").write_text('resolution = "highest"\nlink-mode = "symlink"\n')
    assert server.run(inputs=["uv.toml"])["state"] == "succeeded", server.machine.console()
    assert server.is_proven
    folder = server.machine.root / "var/lib/skylift/recipe"
    found = {each.name: each.read_text() for each in folder.iterdir() if each.suffix != ".lock"}
    assert found == {
        "script.py": '# /// script\n# "dependencies" = ["leaf<2"]\n# ///\n',
        "uv.toml": '"resolution" = "highest"\n',
    }


def test_no_program_starts_while_it_could_pin_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 takes no pin in time: the program would have the role that may still write it."""
    prefix = KeptPrefix()

    def fault(step: str, verb: str, key: str) -> None:
        if step == "asked" and verb == "put":
            raise Unreachable(key)

    prefix.fault = fault
    monkeypatch.setattr(prebuilt_on_server, "_PINNING", 0.1)
    login: Any = SimpleNamespace(home=tmp_path, place=tmp_path / "job", environment=lambda: {"PATH": "/usr/bin"})
    nothing: Any = None
    made = EnvironmentBuilder(
        WantedEnvironment("none", "."), login, nothing, tmp_path / "log", nothing, tmp_path / "recipe"
    )
    named = EnvironmentPlace(PLACE).encode()
    prebuilt = prebuilt_on_server.PrebuiltEnvironment(cast(Prefix, prefix), named, login, made.folders)
    mark, names = tmp_path / "mark", prebuilt.names.values()
    cached = CachedEnvironment(mark, made.folders, tmp_path, names)
    cached.mark_imaged(prebuilt.names["proven.json"], None)
    with pytest.raises(Ended, match="cannot be written down") as caught:
        made.make(prebuilt, cached, dict)
    assert caught.value.state == State.BROKEN
