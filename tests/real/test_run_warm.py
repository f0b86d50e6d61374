"""`skylift run --keep`: the next run has the same server, unless something about it would have to be different."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.real_cloud import RealCloud
from support.running_job import jobs, roles

pytestmark = pytest.mark.real

PROGRAM = "import os, sys\nprint(os.listdir(), *sys.argv[1:])\nopen('mine', 'w').write(os.environ['SKYLIFT_JOB'])\n"


@pytest.fixture
def folder(cloud: RealCloud, request: pytest.FixtureRequest) -> Iterator[Path]:
    found = cloud.work / request.node.name
    found.mkdir()
    (found / "job.py").write_text(PROGRAM)
    before = roles(cloud)
    yield found
    for each in jobs(cloud):
        cloud.skylift("cancel", each["name"])
    assert roles(cloud) <= before


def run(cloud: RealCloud, folder: Path, *options: str) -> dict[str, Any]:
    done = cloud.skylift("run", "--json", *options, "job.py", cwd=folder)
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "words": done.stderr}


def test_the_next_run_has_the_server(cloud: RealCloud, folder: Path) -> None:
    first = run(cloud, folder, "--keep", "10m", "--name", "first")
    remembered = cloud.home.path / "cache" / "last-kept"
    assert '"job": "first"' in remembered.read_text(), "the next run begins to connect before it asks for anything"
    second = run(cloud, folder, "--keep", "10m", "--name", "second", "--out", "mine")
    assert second["instance"] == first["instance"]
    assert "kept since first" in second["words"]
    assert second["stdout_tail"] == "['job.py']\n"
    assert (folder / "mine").read_text() == "second"
    # The first is forgotten, the role that was made for it is not: the server still has it.
    cloud.skylift("rm", "first")
    (listed,) = jobs(cloud)
    assert (listed["name"], listed["instance"]) == ("second", first["instance"])
    third = run(cloud, folder, "--name", "third", "--reuse", "second", "-q")
    assert third["instance"] == first["instance"]
    assert third["kept_until"] == second["kept_until"], "what was promised is held"
    assert "what second has left there is removed" in third["words"]
    (listed,) = jobs(cloud)
    assert listed["name"] == "third"
    cloud.skylift("rm", "second")


def test_a_stranger_does_not_get_the_server(cloud: RealCloud, folder: Path) -> None:
    """Neither a run that has not asked for one, nor one from another folder."""
    first = run(cloud, folder, "--keep", "10m", "--name", "precious", "--out", "mine")
    assert run(cloud, folder)["instance"] != first["instance"]
    other = folder / "other"
    other.mkdir()
    (other / "job.py").write_text(PROGRAM)
    assert run(cloud, other, "--keep", "10m")["instance"] != first["instance"]
    refused = cloud.skylift("run", "--reuse", "precious", "job.py", cwd=other, check=False)
    assert refused.returncode == 2
    assert "of another project" in refused.stderr
    assert cloud.skylift("ssh", "precious", "cat job/mine").stdout == "precious"


def test_a_run_that_needs_another_one(cloud: RealCloud, folder: Path) -> None:
    first = run(cloud, folder, "--keep", "10m")
    assert run(cloud, folder, "--fresh")["instance"] != first["instance"]
    larger = run(cloud, folder, "--keep", "1s", "--type", "t3.medium")
    # The same account on another machine has another key.
    keys = cloud.home.path / "keys"
    keys.rename(cloud.home.path / "keys-away")
    try:
        elsewhere = run(cloud, folder, "--keep", "1s")
    finally:
        shutil.rmtree(keys)
        (cloud.home.path / "keys-away").rename(keys)
    assert first["instance"] not in (larger["instance"], elsewhere["instance"])
    assert run(cloud, folder, "--keep", "10m")["instance"] == first["instance"]
    # Their servers have gone off by themselves; who ends the jobs removes what a server cannot remove: its own role.
    cloud.skylift("cancel", larger["name"], elsewhere["name"])


def test_of_two_at_once_one_has_it(cloud: RealCloud, folder: Path) -> None:
    first = run(cloud, folder, "--keep", "10m")
    # Until both have a server: the one that has it must not be done before the other one looks.
    (folder / "job.py").write_text("import os, time\nwhile not os.path.exists('go'): time.sleep(0.05)\n")
    command = ("run", "-d", "--keep", "10m", "--json", "job.py")
    clients = [cloud.popen(*command, cwd=folder, stdout=subprocess.PIPE) for _ in range(2)]
    started = [json.loads(each.communicate()[0]) for each in clients]
    assert sorted(each["instance"] == first["instance"] for each in started) == [False, True]
    for each in started:
        cloud.skylift("ssh", each["name"], "touch", "job/go")
    ended = json.loads(cloud.skylift("wait", "--json", *(each["name"] for each in started)).stdout)
    assert [each["exit_code"] for each in ended] == [0, 0]
    cloud.skylift("cancel", *(each["name"] for each in started))
