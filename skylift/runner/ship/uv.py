"""uv for servers whose image has none: its wheel is downloaded from the package index that pip uses here, and put into
the bucket once, named by its hash.

The hashes are in this file, so neither the index nor a user who may write to the bucket can replace the program.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from skylift.runner.errors import Refused, RunError
from skylift.runner.remote.api import Api

VERSION = "0.13.9"
"""The same version as on the embedded EC2's servers, so that an environment resolves alike on both."""


@dataclass(frozen=True)
class Wheel:
    """A file on the package index. `platforms` are its platform tags."""

    platforms: tuple[str, ...]
    sha256: str

    @property
    def key(self) -> str:
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


def ensure_uv(api: Api, bucket: str, wheel: Wheel) -> None:
    """Put the wheel into the bucket, unless it is there already."""
    try:
        api.call("s3", "head_object", Bucket=bucket, Key=wheel.key)
    except Refused as error:
        if error.code != "404":
            raise
    else:
        return
    with tempfile.TemporaryDirectory(prefix="skylift-uv-") as folder:
        file = _download(wheel, Path(folder))
        with file.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != wheel.sha256:
                raise RunError(
                    f"The uv {VERSION} that the package index gave is not the one that is known.",
                    "Ask pip for another index (PIP_INDEX_URL), or take an --image that has uv.",
                )
            content.seek(0)
            api.upload(content, file.stat().st_size, bucket, wheel.key, lambda _: None)


def _download(wheel: Wheel, folder: Path) -> Path:
    command = download_argv(wheel, folder)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    found = sorted(folder.glob("uv-*.whl"))
    if done.returncode != 0 or not found:
        words = "\n".join(done.stderr.strip().splitlines()[-6:])
        raise RunError(
            f"uv {VERSION}, which the server needs for its environment, cannot be fetched:\n{words}",
            "Make `pip download uv` work here, or take an --image that has uv.",
        )
    return found[0]


def download_argv(wheel: Wheel, folder: Path) -> list[str]:
    """The command that downloads the wheel: pip, or uv's pip when this Python has none."""
    if importlib.util.find_spec("pip") is not None:
        pip = [sys.executable, "-P", "-m", "pip"]
    elif uv := shutil.which("uv"):
        pip = [uv, "tool", "run", "--quiet", "pip"]
    else:
        raise RunError("Fetching uv for the server takes pip or uv, and this Python has neither.")
    platforms = [f"--platform={each}" for each in wheel.platforms]
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check", f"--dest={folder}"]
    return [*pip, "download", *options, *platforms, f"uv=={VERSION}"]
