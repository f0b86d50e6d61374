"""uv for the image, from the package index that this machine's own pip or uv is set up for.

ProgramUnavailable   neither pip nor uv could fetch it; carries their words
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from skylift.cloud.state.person import Person, calling_user


class ProgramUnavailable(Exception):
    """The package index did not give it."""


def fetch_uv(version: str, directory: Path) -> None:
    """Put the program of this version into `directory`."""
    caller = calling_user()
    # Fetched as the calling user, whose pip settings are meant, and whose right to write ends in this directory. What
    # is there is read as that user too: it may have become a link to anything.
    with tempfile.TemporaryDirectory(prefix="skylift-uv-") as name:
        place = Path(name)
        caller.own(place)
        program = _fetch(f"uv=={version}", place, caller)
        (directory / "uv").write_bytes(program)
        (directory / "uv").chmod(0o755)


def _fetch(requirement: str, place: Path, caller: Person) -> bytes:
    if importlib.util.find_spec("pip") is not None:
        options = ("--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check", "--dest", str(place))
        _run([sys.executable, "-P", "-m", "pip", "download", *options, requirement], place, caller)
        return caller.act(lambda: _member(place, ".data/scripts/uv"))
    if uv := shutil.which("uv"):
        _run([uv, "pip", "install", "--quiet", "--no-deps", "--target", str(place), requirement], place, caller)
        return caller.act((place / "bin" / "uv").read_bytes)
    raise ProgramUnavailable("fetching uv for the image takes pip or uv, and this Python has neither")


def _member(place: Path, ending: str) -> bytes:
    """The one file of the wheel in this directory whose name ends so."""
    with zipfile.ZipFile(next(place.glob("uv-*.whl"))) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith(ending)))


def _run(command: list[str], place: Path, caller: Person) -> None:
    environment = {**os.environ, "HOME": str(caller.home)}
    done = subprocess.run(  # type: ignore[call-overload]
        command, cwd=place, capture_output=True, text=True, check=False, env=environment, **caller.run_as()
    )
    if done.returncode != 0:
        words = "\n".join(f"  {line}" for line in done.stderr.strip().splitlines()[-6:])
        raise ProgramUnavailable(f"uv cannot be fetched from the package index:\n{words}")
