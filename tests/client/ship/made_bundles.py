"""Folders with files, and what a bundle's archive has of them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from skylift.client.job.job import Bundle
from skylift.client.ship.archiver import Archiver


def write(folder: Path, *places: str, text: str = "x") -> None:
    for place in places:
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def packed(bundle: Bundle) -> bytes:
    buffer = io.BytesIO()
    Archiver(bundle).write([each for each in bundle.files if each.place not in bundle.large], buffer)
    return buffer.getvalue()


def unpacked(bundle: Bundle) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(packed(bundle))) as tar:
        return {entry.name: entry for entry in tar}
