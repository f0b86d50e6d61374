"""The environment that an earlier job has left on a server that was kept: still there for the next that needs the same.

A program may change its environment, by `pip install` for one. So what it was is noted before the program starts, and
only if it still is that when the job is over, the next job uses it; else nothing of it is used for another one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, Dict, List, Optional


class CachedEnvironment:
    """`mark` says what stands there: a recipe, and the lock that it was made by. `recipe` is the one that is wanted,
    and empty for an environment that is nobody else's. `cache` is uv's, which has its files in common with what it
    makes."""

    def __init__(self, mark: Path, folders: List[Path], cache: Path, recipe: str) -> None:
        self._mark, self._folders, self._cache, self._recipe = mark, folders, cache, recipe
        self._seen = ""
        self._lock: Optional[str] = None

    def find(self) -> Optional[Dict[str, Any]]:
        """{"recipe", "lock"} if it is the one that is wanted. From now on nobody can say so, until this job is over."""
        with contextlib.suppress(FileNotFoundError):
            found: Dict[str, Any] = json.loads(self._mark.read_text())
            self._mark.unlink()
            return found if self._recipe and found["recipe"] == self._recipe else None
        return None

    def note(self, lock: Optional[str]) -> None:
        self._seen, self._lock = self._look(), lock

    def confirm(self) -> None:
        if self._look() != self._seen:
            shutil.rmtree(str(self._cache), ignore_errors=True)
        elif self._recipe:
            self._mark.write_text(json.dumps({"recipe": self._recipe, "lock": self._lock}))

    def _look(self) -> str:
        """Of each file what a write would change; what Python compiles beside its sources does not count."""
        digest = hashlib.sha256()
        for top in self._folders:
            for place, folders, files in os.walk(str(top)):
                folders[:] = sorted(name for name in folders if name != "__pycache__")
                for name in sorted(files):
                    full = os.path.join(place, name)
                    found = os.lstat(full)
                    told = (full, found.st_mode, found.st_uid, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
                    digest.update(repr(told).encode(errors="surrogateescape"))
        return digest.hexdigest()
