"""A database with nothing in it but its schema. It is made once; each test has a copy, which waits for no disk."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from skylift.cloud.store.database import Database


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
