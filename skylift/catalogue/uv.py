"""uv's wheels on the package index, by their hashes, and the command that downloads one.

Neither the index, nor who may write where the file is kept, can replace the program.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

VERSION = "0.13.9"
"""The same on the embedded EC2's servers and on others, so that an environment resolves alike on both."""


@dataclass(frozen=True)
class Wheel:
    """A file on the package index. `platforms` are its platform tags."""

    platforms: tuple[str, ...]
    sha256: str

    @property
    def key(self) -> str:
        """Its place in the bucket."""
        return f"tools/{self.sha256}/uv.whl"


WHEELS = {
    "x86_64": Wheel(
        ("manylinux2014_x86_64", "manylinux_2_17_x86_64"),
        "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
    ),
    "arm64": Wheel(
        ("manylinux2014_aarch64", "manylinux_2_17_aarch64"),
        "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe",
    ),
}


def download_argv(wheel: Wheel, folder: Path) -> list[str] | None:
    """The command that downloads the wheel: pip, or uv's pip when this Python has none. None where neither is here."""
    if importlib.util.find_spec("pip") is not None:
        pip = [sys.executable, "-P", "-m", "pip"]
    elif uv := shutil.which("uv"):
        pip = [uv, "tool", "run", "--quiet", "pip"]
    else:
        return None
    platforms = [f"--platform={each}" for each in wheel.platforms]
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check", f"--dest={folder}"]
    return [*pip, "download", *options, *platforms, f"uv=={VERSION}"]
