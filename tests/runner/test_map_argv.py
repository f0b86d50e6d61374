"""The command of a map's own process, which is root's, in the folder of the job."""

from __future__ import annotations

import getpass
import os
import subprocess
from pathlib import Path

from skylift.runner.server.login_user import Login
from skylift.runner.server.map_server import map_argv
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
