"""A program with --servers needs Dask in its environment: found before anything is started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from skylift.client.errors import UsageError
from skylift.client.job.job import ClusterPart, Program, Spot
from skylift.client.plan.plan_job import Order, plan_job, read_servers

PROJECT = '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = [{}]\n'


def planned(folder: Path, script: str = "print()\n", **order: Any) -> Any:
    (folder / "job.py").write_text(script)
    return plan_job(Order(Program("script", "job.py"), **{"servers": 4, **order}), folder, os.environ)


def header(*names: str) -> str:
    listed = "".join(f'#   "{name}",\n' for name in names)
    return f"# /// script\n# dependencies = [\n{listed}# ]\n# ///\n"


@pytest.mark.parametrize(
    "named", ["distributed", "Distributed==2026.8.*", "dask[distributed]", "dask[array, complete]>=1"]
)
def test_dask_that_is_named_will_do(tmp_path: Path, named: str) -> None:
    assert planned(tmp_path, header("numpy", named)).cluster == ClusterPart(4)
    assert planned(tmp_path, servers=0).cluster is None
    assert planned(tmp_path, header(named), spot=Spot()).cluster == ClusterPart(4)


@pytest.mark.parametrize("named", ["dask", "dask[array]", "distributed-tools", "undistributed", "numpy"])
def test_what_is_not_dask_is_refused_with_what_to_do(tmp_path: Path, named: str) -> None:
    with pytest.raises(UsageError, match=r"no `distributed`: job.py does not ask for it") as refused:
        planned(tmp_path, header(named))
    assert refused.value.advice == "uv add --script job.py distributed"


def test_a_project_and_its_lock(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT.format('"numpy"'))
    with pytest.raises(UsageError, match="does not ask for it") as refused:
        planned(tmp_path)
    assert refused.value.advice == "uv add distributed"
    # What another package asks for is in the lock.
    (tmp_path / "uv.lock").write_text('version = 1\n[[package]]\nname = "distributed"\nversion = "1"\n')
    assert planned(tmp_path).cluster == ClusterPart(4)
    (tmp_path / "pyproject.toml").write_text(PROJECT.format('"distributed"'))
    (tmp_path / "uv.lock").write_text('version = 1\n[[package]]\nname = "numpy"\nversion = "1"\n')
    with pytest.raises(UsageError, match="does not ask for it"):
        planned(tmp_path)
    (tmp_path / "uv.lock").write_text("package = 3\n")
    with pytest.raises(UsageError, match="does not ask for it"):
        planned(tmp_path)


def test_requirements_and_those_that_they_include(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy  # not distributed\n-r more.txt\n-r requirements.txt\n")
    with pytest.raises(UsageError, match=r"requirements.txt does not name it"):
        planned(tmp_path)
    (tmp_path / "more.txt").write_text("# distributed\ndask[complete]\n")
    assert planned(tmp_path).cluster == ClusterPart(4)


@pytest.mark.parametrize("script", ["print()\n", header()])
def test_a_job_without_an_environment_is_refused(tmp_path: Path, script: str) -> None:
    with pytest.raises(UsageError, match="the job has no environment of its own") as refused:
        planned(tmp_path, script)
    assert refused.value.advice == "uv add --script job.py distributed"
    with pytest.raises(UsageError, match="the job has no environment of its own") as refused:
        plan_job(Order(Program("command", "true"), servers=2), tmp_path, os.environ)
    assert refused.value.advice == "uv init --bare && uv add distributed"


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({"keep": 60}, "--keep and --servers exclude each other"),
        ({"idle": 60}, "--idle and --servers exclude each other"),
        ({"name": "a" * 39}, "too long for several servers"),
    ],
)
def test_what_does_not_go_with_several_servers(tmp_path: Path, order: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        planned(tmp_path, header("distributed"), **order)


def test_a_number_of_servers(tmp_path: Path) -> None:
    assert (read_servers(None), read_servers("1"), read_servers("1000")) == (0, 1, 1000)
    for text in ("0", "1001", "-1", "1.5", "", "four", "٣", "9" * 5000, "0..8"):
        with pytest.raises(UsageError, match="is not a number from 1 to 1000"):
            read_servers(text)
