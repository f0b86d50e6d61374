"""uv for servers whose image has none: its wheel is downloaded from the package index that pip uses here, and put into
the bucket once, named by its hash.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path

from skylift.catalogue.uv import VERSION, Wheel, download_argv
from skylift.client.errors import Refused, RunError
from skylift.client.remote.api import Api


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
    if command is None:
        raise RunError("Fetching uv for the server takes pip or uv, and this Python has neither.")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    found = sorted(folder.glob("uv-*.whl"))
    if done.returncode != 0 or not found:
        words = "\n".join(done.stderr.strip().splitlines()[-6:])
        raise RunError(
            f"uv {VERSION}, which the server needs for its environment, cannot be fetched:\n{words}",
            "Make `pip download uv` work here, or take an --image that has uv.",
        )
    return found[0]
