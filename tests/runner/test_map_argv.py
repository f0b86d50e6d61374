"""The commands of a map's own process, which is root's, in the folder of the job, and of its processes of Dask's."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path

from skylift.runner.server.login_user import Login
from skylift.runner.server.map_server import dask_argv, map_argv
from skylift.runner.ship.archive import whole_archive


def test_it_imports_nothing_of_the_jobs_own_files(tmp_path: Path) -> None:
    """A project may have a `secrets.py`, and one that wants to be root may have any."""
    project, archive, mark = tmp_path / "job", tmp_path / "supervisor.pyz", tmp_path / "mark"
    archive.write_bytes(whole_archive())
    project.mkdir()
    for name in ("argparse", "json", "secrets", "socket", "usercustomize"):
        (project / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})\nraise SystemExit(9)\n")
    login = Login(getpass.getuser(), tmp_path, "x", "eu-west-1")
    where = dict.fromkeys(("bucket", "prefix", "region", "imds"), "x")
    argv = map_argv(archive, "python", "python", where, str(tmp_path), login, ".")
    env = {**os.environ, "PYTHONPATH": str(project), "PYTHONSTARTUP": str(project / "json.py")}
    done = subprocess.run([*argv, "--help"], cwd=project, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: map")
    assert not mark.exists()


def test_what_a_process_of_dasks_says_is_there_when_it_ends_at_once(tmp_path: Path) -> None:
    """As the coordinator does, and whoever is killed."""
    place = tmp_path / "skylift/runner/map"
    place.mkdir(parents=True)
    for folder in (place, place.parent, place.parents[1]):
        (folder / "__init__.py").touch()
    (place / "main.py").write_text("import os\n\ndef main():\n    print('S3 is tried again')\n    os._exit(3)\n")
    argv = dask_argv(sys.executable, str(tmp_path), "main")
    done = subprocess.run(argv, cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "S3 is tried again\n"), done.stderr
