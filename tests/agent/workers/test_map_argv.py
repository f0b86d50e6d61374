"""The commands of processes that run a module of the server's own package as root or as the program's user, in the
folder of the job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skylift.agent.machine.our_process import argv_of, read_options, write_options
from skylift.agent.workers.job_cluster import ClusterOptions
from skylift.agent.workers.map_server import MapSettings, dask_argv
from skylift.client.ship.archive import whole_archive

OF_MAP = MapSettings(
    archive="a",
    bucket="b",
    prefix="jobs/x",
    region="eu-west-1",
    imds="i",
    root="/",
    user="admin",
    source="jobs/x",
    python="python",
    tools="tools",
    cwd='ä\udcff/it\'s "so"',
    dask={"environment": {"sha256": None}},
    until=1e9,
)
OF_CLUSTER = ClusterOptions(
    archive="a",
    bucket="b",
    prefix="jobs/x",
    region="eu-west-1",
    imds="i",
    endpoint="",
    group="g",
    servers=2,
    python="python",
    script="",
    failure=3,
    moves=True,
)
MODULES = ("skylift.agent.workers.map_server", "skylift.agent.workers.job_cluster", "skylift.agent.program.feed_stdin")


@pytest.mark.parametrize("module", MODULES)
def test_it_imports_nothing_of_the_jobs_own_files(tmp_path: Path, module: str) -> None:
    """A project may have a `secrets.py`, and one that wants to be root may have any."""
    project, archive, mark = tmp_path / "job", tmp_path / "supervisor.pyz", tmp_path / "mark"
    archive.write_bytes(whole_archive())
    project.mkdir()
    for name in ("argparse", "json", "secrets", "socket", "typing", "usercustomize"):
        (project / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})\nraise SystemExit(9)\n")
    argv = argv_of(sys.executable, str(archive), module, "neither options nor JSON")
    env = {**os.environ, "PYTHONPATH": str(project), "PYTHONSTARTUP": str(project / "json.py")}
    done = subprocess.run(argv, cwd=project, env=env, capture_output=True, text=True, check=False)
    # It has come to its own options, and does nothing without.
    assert done.returncode == 1
    assert "json.decoder.JSONDecodeError" in done.stderr
    assert not mark.exists()


@pytest.mark.parametrize("options", [OF_MAP, OF_CLUSTER])
def test_what_is_written_is_read(options: MapSettings | ClusterOptions) -> None:
    text = write_options(options)
    assert text.isascii()
    assert read_options(type(options), text) == options


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"servers": "2"}, "ClusterOptions has other types of servers"),
        ({"servers": True}, "ClusterOptions has other types of servers"),
        ({"moves": 1, "group": None}, "ClusterOptions has other types of group, moves"),
        ({"more": "x"}, "ClusterOptions has the fields archive, "),
        ([], "ClusterOptions has the fields archive, "),
    ],
)
def test_what_is_not_written_so_is_not_read(change: Any, message: str) -> None:
    found = {**OF_CLUSTER._asdict(), **change} if change else change
    with pytest.raises(ValueError, match=f"^{message}"):
        read_options(ClusterOptions, json.dumps(found))


@pytest.mark.parametrize("field", ["archive", "moves"])
def test_each_field_is_written(field: str) -> None:
    found = OF_CLUSTER._asdict()
    del found[field]
    with pytest.raises(ValueError, match=r"^ClusterOptions has the fields archive, "):
        read_options(ClusterOptions, json.dumps(found))


def test_what_a_process_of_dasks_says_is_there_when_it_ends_at_once(tmp_path: Path) -> None:
    """As the coordinator does, and whoever is killed."""
    place = tmp_path / "skylift/client/map"
    place.mkdir(parents=True)
    for folder in (place, place.parent, place.parents[1]):
        (folder / "__init__.py").touch()
    (place / "main.py").write_text("import os\n\ndef main():\n    print('S3 is tried again')\n    os._exit(3)\n")
    argv = dask_argv(sys.executable, str(tmp_path), "main")
    done = subprocess.run(argv, cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "S3 is tried again\n"), done.stderr
