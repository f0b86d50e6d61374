"""A cluster that one process of this machine keeps open and others find, by a folder in the state directory."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from skylift.client.errors import UsageError
from skylift.client.job.job import NAME_FORM
from skylift.cloud.state.home import default_home
from skylift.python.cluster.size import Servers, read_limits

if TYPE_CHECKING:
    from skylift.python.cluster.cluster import Cluster

_WANTED = re.compile(r"([0-9]{1,4})\.\.([0-9]{1,4})")


class HeldCluster:
    """The folder of one. `lock` is locked as long as its keeper lives, `environ.json` has the variables for other
    programs, and `wanted` a number of workers that somebody asks for."""

    def __init__(self, name: str) -> None:
        self._folder = default_home().path / "clusters" / name
        self._lock, self._environ, self._wanted = (self._folder / each for each in ("lock", "environ.json", "wanted"))

    @property
    def environ(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self._environ.read_text())
        return found

    def want(self, servers: Servers) -> None:
        limits = read_limits(servers)
        _write(self._wanted, f"{limits.least}..{limits.most}")

    def wanted(self) -> tuple[int, int] | None:
        """What was asked for since the last look."""
        try:
            text = self._wanted.read_text()
            self._wanted.unlink()
        except FileNotFoundError:
            return None
        found = _WANTED.fullmatch(text)
        return (int(found[1]), int(found[2])) if found else None

    def lock(self) -> IO[str]:
        """The lock, which is to be closed at the end. Raises UsageError when another process has it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = self._lock.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            name = self._folder.name
            raise UsageError(
                f"A cluster {name!r} is kept on this machine already.",
                f"Choose another name, or end that one: skylift cluster down {name}",
            ) from None
        # What is left of a keeper that was killed.
        for each in (self._wanted, self._environ):
            each.unlink(missing_ok=True)
        return lock

    @contextmanager
    def shown(self, cluster: Cluster) -> Iterator[None]:
        """Let others find the cluster meanwhile."""
        _write(self._environ, json.dumps(cluster.environ(self._folder)))
        try:
            yield
        finally:
            self._environ.unlink(missing_ok=True)

    @property
    def kept(self) -> bool:
        try:
            with self._lock.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return self._environ.exists()
        return False

    def forget(self) -> None:
        for each in self._folder.iterdir():
            each.unlink()
        self._folder.rmdir()


@contextmanager
def hold(name: str) -> Iterator[HeldCluster]:
    """Be the only keeper of a cluster of this name on this machine. Raises UsageError when there is another."""
    held = HeldCluster(name)
    with held.lock():
        try:
            yield held
        finally:
            held.forget()


def find_held(name: str) -> HeldCluster:
    """Raises UsageError."""
    if NAME_FORM.fullmatch(name) is None or not (found := HeldCluster(name)).kept:
        raise UsageError(
            f"No cluster {name!r} is kept on this machine.", "`skylift cluster up` keeps one, as long as it runs."
        )
    return found


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(text)
    new.replace(path)
