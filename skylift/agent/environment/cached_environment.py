"""The environment that an earlier job has left on a kept server, for a next job that needs the same one; or that is in
the server's image.

A program may change its environment, for example with `pip install`. So the environment is noted before the program
starts, and the next job uses it only if it was unchanged when the job ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, Collection, Dict, List, Optional

from skylift.agent.machine.remove_tree import remove_below
from skylift.agent.machine.walk import walk

_CACHE = ".cache/uv"


class CachedEnvironment:
    """`mark` is a file that names the environment here (see names_at), with the lock that it was made from. `names` are
    the wanted environment's. `home` has uv's cache, which shares files with the environment by hard links."""

    def __init__(self, mark: Path, folders: List[Path], home: Path, names: Collection[str] = ()) -> None:
        self._mark, self._folders, self._home, self._names = mark, folders, home, names
        self._seen = self._name = ""
        self._lock: Optional[str] = None

    def find(self) -> Optional[Dict[str, Any]]:
        """{"name", "lock", "imaged"*} if the environment here is the wanted one. Removes the mark until the job has
        ended."""
        with contextlib.suppress(FileNotFoundError):
            found: Dict[str, Any] = json.loads(self._mark.read_text())
            self._mark.unlink()
            return found if found.get("name") in self._names else None
        return None

    def note(self, name: str, lock: Optional[str]) -> None:
        """`name` is empty for an environment that no other job may have."""
        self._seen, self._name, self._lock = self._look(), name, lock

    def confirm(self) -> None:
        if self._look() != self._seen:
            with contextlib.suppress(OSError):
                remove_below(self._home, self._home / _CACHE)
        elif self._name:
            self._mark.write_text(json.dumps({"name": self._name, "lock": self._lock}))

    def mark_imaged(self, name: str, lock: Optional[str]) -> None:
        """For the servers that start from an image of this one."""
        self._mark.write_text(json.dumps({"name": name, "lock": lock, "imaged": True}))

    def _look(self) -> str:
        """A digest of the properties of each file that a write would change. Compiled files next to their sources do
        not count. What cannot be looked at is never the same.
        """
        digest = hashlib.sha256()
        try:
            for top in filter(os.path.isdir, map(str, self._folders)):
                for inner, found in walk(top, without=["__pycache__"]):
                    if not stat.S_ISDIR(found.st_mode):
                        when = found.st_mtime_ns, found.st_ctime_ns
                        facts = top, inner, found.st_mode, found.st_uid, found.st_size, *when
                        digest.update(repr(facts).encode(errors="surrogateescape"))
        except OSError:
            digest.update(os.urandom(16))
        return digest.hexdigest()
