"""uv for the image, from the package index that this machine's own pip or uv is set up for.

The calling user's pip brings bytes, and nothing more: all users' servers start from the image. Root takes them into its
own memory, and unpacks what has the hash that is known.

ProgramUnavailable   neither pip nor uv could fetch it, with their words; or it is another file
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

from skylift.catalogue.uv import VERSION, Wheel, download_argv
from skylift.cloud.state.person import Person, calling_user

_LONGEST = 1 << 28
"""The most bytes of a wheel."""


class ProgramUnavailable(Exception):
    """The package index did not give it."""


def fetch_uv(wheel: Wheel, directory: Path) -> None:
    """Put the program into `directory`."""
    content = _fetched(wheel, calling_user())
    if hashlib.sha256(content).hexdigest() != wheel.sha256:
        raise ProgramUnavailable(
            f"the uv {VERSION} that the package index gave is not the one that is known; see PIP_INDEX_URL"
        )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".data/scripts/uv"))
        (directory / "uv").write_bytes(archive.read(name))
    (directory / "uv").chmod(0o755)


def _fetched(wheel: Wheel, caller: Person) -> bytes:
    """Unverified content: the caller could have put any readable file there."""
    # The caller makes and removes the folder. Root writes nothing there, because the caller can exchange the folder.
    place = caller.act(lambda: Path(tempfile.mkdtemp(prefix="skylift-uv-", dir="/tmp")))
    try:
        command = download_argv(wheel, place)
        if command is None:
            raise ProgramUnavailable("fetching uv for the image takes pip or uv, and this Python has neither")
        _run(command, place, caller)
        return caller.act(lambda: _read(place))
    finally:
        caller.act(lambda: shutil.rmtree(place, ignore_errors=True))


def _read(place: Path) -> bytes:
    try:
        file = os.open(next(place.glob("uv-*.whl")), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(file, "rb") as content:
            return content.read(_LONGEST)
    except (OSError, StopIteration) as error:
        raise ProgramUnavailable("uv's wheel is not where pip was to put it") from error


def _run(command: list[str], place: Path, caller: Person) -> None:
    environment = {**os.environ, "HOME": str(caller.home)}
    done = subprocess.run(  # type: ignore[call-overload]
        command, cwd=place, capture_output=True, text=True, check=False, env=environment, **caller.run_as()
    )
    if done.returncode != 0:
        words = "\n".join(f"  {line}" for line in done.stderr.strip().splitlines()[-6:])
        raise ProgramUnavailable(f"uv cannot be fetched from the package index:\n{words}")
