"""Environments with other people's clients, made once a run of the tests: they need other packages than ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.shared_images import one_at_a_time


def client_environment(shared: Path, name: str, *packages: str, python: str = sys.executable) -> Path:
    """The directory of the programs of an environment with these packages; `shared` is for all processes of a run, and
    `python` is its version or program."""
    place = shared / name
    uv = [sys.executable, "-m", "uv"]
    with one_at_a_time(place):
        if not (place / "complete").exists():
            subprocess.run([*uv, "venv", "--quiet", "--python", python, str(place)], check=True)
            own = str(place / "bin/python")
            subprocess.run([*uv, "pip", "install", "--quiet", "--python", own, *packages], check=True)
            (place / "complete").touch()
    return place / "bin"
