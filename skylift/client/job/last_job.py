"""The job that was started last from a folder, which commands call `-`. The client's cache has its name."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from skylift.client.job.job import NAME_FORM
from skylift.client.job.settings import Settings


def remember_job(settings: Settings, folder: Path, name: str) -> None:
    settings.cache.write(*_entry(settings, folder), name.encode())


def last_job(settings: Settings, folder: Path) -> str | None:
    """None when there is none, and when the entry is damaged."""
    found = (settings.cache.read(*_entry(settings, folder)) or b"").decode("ascii", "replace")
    return found if NAME_FORM.fullmatch(found) else None


def _entry(settings: Settings, folder: Path) -> tuple[str, str]:
    place = f"{settings.address} {folder}"
    return f"last-job-{hashlib.sha256(os.fsencode(place)).hexdigest()[:32]}", settings.address
