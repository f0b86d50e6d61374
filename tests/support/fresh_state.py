"""A database with nothing in it but its schema. It is made once; each test has a copy, in a place that keeps nobody
waiting for a disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from skylift.cloud.store.database import Database

IN_MEMORY = "/dev/shm"


@contextmanager
def quick_directory() -> Iterator[Path]:
    """For what is committed a thousand times, and is small."""
    with TemporaryDirectory(dir=IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None) as directory:
        yield Path(directory)


def fresh_state(directory: Path) -> Path:
    path = directory / "state.db"
    path.write_bytes(_made())
    return path


@cache
def _made() -> bytes:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "state.db"
        Database(path).close()
        return path.read_bytes()
