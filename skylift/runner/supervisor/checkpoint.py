"""What a program writes down to go on from: sent as it changes, and there again before the next attempt begins.

Only a whole one is ever sent. A program that writes a new file and renames it over the old one is always safe. Of one
that writes in place we see that somebody has it open for writing, that it has changed a moment ago, or while it was
read; and what changed in place after SIGTERM is not taken from a program that did not end by itself.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import tarfile
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Iterator, NamedTuple, Optional, Tuple

from skylift.runner.supervisor.attempts import Attempt
from skylift.runner.supervisor.aws import Refused, Unreachable, patiently
from skylift.runner.supervisor.console import say
from skylift.runner.supervisor.prefix import Prefix
from skylift.runner.supervisor.unpack import clear_away, make_folder, sha256_of
from skylift.runner.supervisor.verdict import Ended

_SETTLED = 1.0
"""Seconds without a change after which a checkpoint that is written in place may be taken."""
_LEAST = 5.0
"""Seconds between two sendings; and nine times as long as the last one took."""


class Look(NamedTuple):
    """What tells whether a checkpoint has changed: of each file its place, number, size and time."""

    files: Tuple[Tuple[str, int, int, int], ...]

    def renamed_since(self, before: Optional[Look]) -> bool:
        """Whether this is one file, and another one than that."""
        return before is not None and len(self.files) == 1 and self.files[0][:2] != before.files[0][:2]

    @property
    def age(self) -> float:
        return time.time() - max((changed for *_, changed in self.files), default=0) / 1e9


class Checkpoint:
    """A file or a folder at `path`. In the attempt stands, as `checkpoint`:

    {"key", "sha256", "size", "kind": "file" or "folder", "mode", "attempt"}, with "before", the key of the one before,
    which is there until the next one is.
    """

    def __init__(self, path: Path, prefix: Prefix, attempt: Attempt, user: pwd.struct_passwd, spool: Path) -> None:
        self.path, self._prefix, self._attempt, self._user, self._spool = path, prefix, attempt, user, spool
        self._sent: Optional[Look] = None
        self._marked: Optional[Look] = None
        self._marked_open = False
        self._count = 0
        self._sending = threading.Lock()
        self._hurry = threading.Event()
        self._over = threading.Event()

    @property
    def told(self) -> Dict[str, Any]:
        """For the job's status."""
        found: Dict[str, Any] = self._attempt.fields.get("checkpoint") or {}
        return {name: found[name] for name in ("size", "attempt", "time") if name in found}

    def restore(self, top: Path, until: float) -> None:
        """The last one that was sent, if there is any, in place of whatever is there."""
        found = self._attempt.fields.get("checkpoint")
        if not found:
            return
        self._check_room(found["size"] * (2 if found["kind"] == "folder" else 1))
        patiently("checkpoint", lambda: self._prefix.fetch(found["key"], self._spool), until)
        if sha256_of(self._spool) != found["sha256"]:
            raise Ended("broken", "The checkpoint that arrived is not the one that was sent.")
        make_folder(self.path.parent, top, self._user)
        if self.path.is_dir() or self.path.is_symlink():
            clear_away(self.path)
        if found["kind"] == "folder":
            self._unpack()
        else:
            os.chown(str(self._spool), self._user.pw_uid, self._user.pw_gid)
            self._spool.chmod(found["mode"])
            self._spool.replace(self.path)
        self._sent = look(self.path)

    def _check_room(self, size: int) -> None:
        found = os.statvfs(str(self._spool.parent))
        free = found.f_bavail * found.f_frsize
        if size > free:
            reason = "The checkpoint does not fit: it takes %d MiB, and the server's disk has %d MiB left."
            raise Ended("broken", reason % (size >> 20, free >> 20))

    def _unpack(self) -> None:
        with tarfile.open(str(self._spool)) as tar:
            for entry in tar:
                entry.uid, entry.gid = self._user.pw_uid, self._user.pw_gid
                entry.uname = entry.gname = ""
                if entry.isdir() or entry.isreg():
                    tar.extract(entry, str(self.path))
                    os.chown(str(self.path / entry.name), self._user.pw_uid, self._user.pw_gid)
        self._spool.unlink()

    # While the program runs.

    def keep(self, changed: Callable[[], Any]) -> None:
        """Send it as it changes, from now on."""
        threading.Thread(target=self._run, args=(changed,), name="checkpoint", daemon=True).start()

    def hurry(self) -> None:
        self._hurry.set()

    def _run(self, changed: Callable[[], Any]) -> None:
        pause = 0.0
        while True:
            self._hurry.wait(max(pause, 1.0))
            self._hurry.clear()
            if self._over.is_set():
                return
            began = time.monotonic()
            try:
                if self._is_ready() and self.send(time.time()):
                    changed()
                    pause = max(_LEAST, 9 * (time.monotonic() - began))
                else:
                    pause = 0.0
            except (Unreachable, Refused, OSError) as error:
                say("the checkpoint could not be sent: %s" % error)

    def _is_ready(self) -> bool:
        found = look(self.path)
        return found is not None and found != self._sent and found.age > _SETTLED and not is_written(self.path)

    def send(self, until: float) -> bool:
        """Whether it is in the prefix as it was at one moment, and is not what was there already."""
        with self._sending:
            seen = look(self.path)
            if seen is None or seen == self._sent:
                return False
            before = self._attempt.fields.get("checkpoint") or {}
            key = "server/checkpoint/%d-%d" % (self._attempt.number, self._count)
            with self._open() as opened:
                if opened is None:
                    return False
                file, kind = opened
                size = os.fstat(file.fileno())
                digest = self._prefix.put_file(key, file, size.st_size, until)
                if kind == "file" and _stamp(os.fstat(file.fileno())) != _stamp(size):
                    return False
                told = {"key": key, "sha256": digest, "size": file.tell(), "kind": kind, "mode": size.st_mode & 0o777}
            told.update(attempt=self._attempt.number, time=round(time.time(), 3), before=before.get("key"))
            self._attempt.note(until, checkpoint=told)
            self._count += 1
            # A file that was renamed over meanwhile is another one, which is for the next time.
            self._sent = seen if look(self.path) == seen else None
            if before.get("before"):
                with contextlib.suppress(Unreachable, Refused):
                    self._prefix.delete(before["before"])
            return True

    @contextlib.contextmanager
    def _open(self) -> Iterator[Optional[Tuple[BinaryIO, str]]]:
        """The file itself; a folder's archive, when nothing of it has changed while that was made."""
        if not self.path.is_dir():
            with self.path.open("rb") as file:
                yield file, "file"
            return
        seen = look(self.path)
        with tarfile.open(str(self._spool), "w") as tar:
            tar.add(str(self.path), ".")
        if look(self.path) != seen:
            yield None
            return
        with self._spool.open("rb") as file:
            yield file, "folder"
        self._spool.unlink()

    # Its end.

    def mark(self) -> None:
        """What there is when the program is told to end."""
        self._marked, self._marked_open = look(self.path), is_written(self.path)

    def finish(self, until: float, *, by_itself: bool) -> bool:
        """Send what the program has left. False when that cannot be trusted: then the one before counts."""
        self._over.set()
        self._hurry.set()
        seen = look(self.path)
        if seen is None or seen == self._sent:
            return True
        untouched = seen == self._marked and not self._marked_open
        if not (by_itself or untouched or seen.renamed_since(self._marked)):
            return False
        self.send(until)
        return True

    def stop(self) -> None:
        self._over.set()
        self._hurry.set()


def look(path: Path) -> Optional[Look]:
    """None when there is nothing, or it changes under our hands."""
    try:
        if not path.is_dir():
            return Look((("", *_stamp(os.stat(str(path)))),))
        found = []
        for folder, _, names in os.walk(str(path)):
            for name in names:
                full = os.path.join(folder, name)
                found.append((os.path.relpath(full, str(path)), *_stamp(os.lstat(full))))
        return Look(tuple(sorted(found)))
    except FileNotFoundError:
        return None


def _stamp(found: os.stat_result) -> Tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns


def is_written(path: Path) -> bool:
    """Whether any process has it, or something in it, open for writing."""
    place = os.path.realpath(str(path))
    for descriptors in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):
            for each in descriptors.iterdir():
                with contextlib.suppress(OSError):
                    target = os.readlink(str(each))
                    if (target == place or target.startswith(place + os.sep)) and _is_for_writing(each):
                        return True
    return False


def _is_for_writing(descriptor: Path) -> bool:
    told = (descriptor.parent.parent / "fdinfo" / descriptor.name).read_text()
    flags = next(line.split()[1] for line in told.splitlines() if line.startswith("flags:"))
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
