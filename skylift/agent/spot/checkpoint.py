"""A program's checkpoint: sent to S3 as it changes, and restored before the next attempt begins.

Only complete checkpoints are sent. A program that writes a new file and renames it over the old one is always safe. A
checkpoint that is written in place is not sent while a process has it open for writing, right after a change, or when
it changed while it was read. If it changed in place after SIGTERM, it is only sent if the program ended by itself.

A key in S3 is used once. The attempt names it before anything is sent there, so the next supervisor, here or on another
server, knows every object that may exist. An object is removed only after a write of the attempt without it has been
confirmed: when the answer was lost, the attempt may name the new checkpoint or the one before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import re
import secrets
import shutil
import stat
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from skylift.agent.environment.unpack import clear_away, digest_of, make_folder, sha256_of
from skylift.agent.job.attempts import Attempt
from skylift.agent.job.outcome import Ended
from skylift.agent.machine.console import say
from skylift.agent.machine.walk import walk
from skylift.agent.remote.aws import Refused, Unreachable, retry_until
from skylift.agent.remote.prefix import Prefix
from skylift.agent.spot.checkpoint_archive import (
    CannotCheckpoint,
    CheckpointUnpacking,
    Damaged,
    Owner,
    WrittenWhileRead,
    open_file,
    pack,
)
from skylift.contract.states import State

_SETTLED = 1.0
"""Seconds without a change after which a checkpoint that is written in place may be sent."""
_LEAST = 5.0
"""The least seconds between two uploads. The pause is also at least nine times as long as the last upload."""
_READ = 100 << 20
"""Bytes that can be read in a second, at least."""
_KEPT = 3
"""Checkpoints that are kept, the newest among them."""
_KEY = re.compile(r"server/checkpoint/[0-9a-z-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Stamp = Tuple[int, int, int]


class Look(NamedTuple):
    """A snapshot that shows whether a checkpoint has changed: of each file, link and folder the path, inode, size (the
    mode of a folder) and ctime, which no program can set."""

    files: Tuple[Tuple[str, int, int, int], ...]

    def renamed_since(self, before: Optional[Look]) -> bool:
        """Whether this is one file, and another inode than before."""
        return before is not None and len(self.files) == 1 and self.files[0][:2] != before.files[0][:2]

    @property
    def age(self) -> float:
        return time.time() - max((changed for *_, changed in self.files), default=0) / 1e9


class Sent(NamedTuple):
    """A checkpoint in the prefix, as an attempt names it."""

    key: str
    sha256: str
    size: int
    kind: str
    mode: int
    attempt: int
    time: float

    @classmethod
    def parse(cls, found: Any) -> Optional[Sent]:
        """None if the value is not a checkpoint: a program on an earlier server may have written it."""
        try:
            sent = cls(**{name: found[name] for name in cls._fields})
            numbers = (sent.size, sent.mode, sent.attempt)
            is_valid = _KEY.fullmatch(sent.key) and _SHA256.fullmatch(sent.sha256) and sent.kind in ("file", "folder")
        except (KeyError, TypeError):
            return None
        if not is_valid or any(type(number) is not int or not 0 <= number < 1 << 63 for number in numbers):
            return None
        return sent if type(sent.time) in (int, float) else None


class Checkpoint:
    """A file or a folder at `path`, which the program may exchange at any moment. The attempt has these fields:

    checkpoint      the newest checkpoint that was sent, as in `Sent`
    earlier         [the ones before it], the newest first, for when it is missing or damaged
    strays          keys of objects that may exist, belong to none of these, and are to be removed; the last one is the
                    key that is used next
    """

    def __init__(self, path: Path, prefix: Prefix, attempt: Attempt, user: pwd.struct_passwd, spool: Path) -> None:
        self.path, self._prefix, self._attempt, self._user, self._spool = path, prefix, attempt, user, spool
        self._sent: Optional[Look] = None
        self._marked: Optional[Look] = None
        self._marked_open = False
        self._next = ""
        self._sending = threading.Lock()
        self._hurry = threading.Event()
        self._over = threading.Event()
        self.refused = ""

    @property
    def _chain(self) -> List[Sent]:
        fields = self._attempt.fields
        earlier = fields.get("earlier")
        found = map(Sent.parse, [fields.get("checkpoint"), *(earlier if isinstance(earlier, list) else [])])
        return [each for each in found if each is not None]

    def _stray_keys(self) -> List[str]:
        found = self._attempt.fields.get("strays")
        return [key for key in found if isinstance(key, str) and _KEY.fullmatch(key)] if isinstance(found, list) else []

    def _name(self, chain: List[Sent], following: str, until: float) -> None:
        """Write these into the attempt, with `following` as the next key, and remove the objects that it no longer
        names."""
        named = [each.key for each in chain]
        known = dict.fromkeys([*self._stray_keys(), *(each.key for each in self._chain)])
        strays = [key for key in known if key not in named]
        links: List[Dict[str, Any]] = [each._asdict() for each in chain]
        self._next = ""
        self._attempt.note(
            until,
            checkpoint=links[0] if links else None,
            earlier=links[1:],
            strays=[*strays, *filter(None, [following])],
        )
        # Only now: before the answer it is not known which key the attempt names.
        self._next = following
        left = [key for key in strays if not self._remove(key)]
        self._attempt.fields["strays"] = [*left, *filter(None, [following])]

    def _remove(self, key: str) -> bool:
        try:
            self._prefix.delete(key)
        except (Unreachable, Refused) as error:
            say("an old checkpoint is left for later: %s" % error)
            return False
        return True

    # Before the program runs.

    def restore(self, top: Path, until: float) -> None:
        """Restore the last checkpoint that was sent, if there is one, or an earlier one when it is missing or damaged.
        It replaces whatever is at `path`."""
        if not self._attempt.fields.get("checkpoint"):
            return
        chain, words = self._chain, "The attempt before names no checkpoint that could be one."
        for number, each in enumerate(chain):
            words = self._fetch(each, top, until)
            if not words:
                if number:
                    say("the job continues from the checkpoint before: %s" % each.key)
                    self._name(chain[number:], "", until)
                self._sent = look(self.path)
                return
            say(words)
        raise Ended(State.BROKEN, words)

    def _fetch(self, sent: Sent, top: Path, until: float) -> str:
        """Download a checkpoint and put it in its place. Returns the problem with it, or nothing."""
        self._check_room(sent.size * (2 if sent.kind == "folder" else 1))
        if not retry_until("checkpoint", lambda: self._is_there(sent.key), until):
            return "The checkpoint %s is not in the job's prefix." % sent.key
        if sha256_of(self._spool) != sent.sha256:
            return "The checkpoint that arrived is not the one that was sent (%s)." % sent.key
        make_folder(self.path.parent, top, self._user)
        # Next to its final place, so that one rename moves it there. No other user can enter it.
        place = self.path.with_name(".skylift-checkpoint")
        clear_away(place)
        if sent.kind == "folder":
            real = os.path.join(os.path.realpath(str(self.path.parent)), self.path.name)
            try:
                CheckpointUnpacking(self._spool, place, (real, str(self.path)), Owner(*self._user[2:4])).run()
            except Damaged as error:
                clear_away(place)
                return "The checkpoint %s is damaged: %s." % (sent.key, error)
            self._spool.unlink()
        else:
            # The spool may be on another file system.
            shutil.move(str(self._spool), str(place))
            os.chown(str(place), self._user.pw_uid, self._user.pw_gid)
            place.chmod(sent.mode & 0o777)
        clear_away(self.path)
        place.replace(self.path)
        return ""

    def _is_there(self, key: str) -> bool:
        """Whether the object exists; it is in the spool then. S3 denies reading a missing object, because a server may
        not list its prefix. To tell that from a role that is not known yet, this tries to write the object first."""
        try:
            self._prefix.fetch(key, self._spool)
        except Refused as error:
            if error.status != 404:
                raise
            return False
        except Unreachable as error:
            if "HTTP 403" in str(error) and self._prefix.put(key, b"", first=True):
                return False
            raise
        return True

    def _check_room(self, size: int) -> None:
        found = os.statvfs(str(self._spool.parent))
        free = found.f_bavail * found.f_frsize
        if size > free:
            reason = "The checkpoint does not fit: it takes %d MiB, and the server's disk has %d MiB left."
            raise Ended(State.BROKEN, reason % (size >> 20, free >> 20))

    # While the program runs.

    def keep(self, changed: Callable[[], Any]) -> None:
        """Send the checkpoint whenever it changes, from now on."""
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
            began, pause, refused = time.monotonic(), 0.0, self.refused
            try:
                ready = self._ready()
                if ready is not None and self.send(time.time(), ready):
                    changed()
                    pause = max(_LEAST, 9 * (time.monotonic() - began))
            except CannotCheckpoint as error:
                self._refuse(error)
            except (Unreachable, Refused, OSError) as error:
                say("the checkpoint could not be sent: %s" % error)
            if self.refused != refused:
                changed()

    def _refuse(self, error: CannotCheckpoint) -> None:
        """Report once why a checkpoint is refused. The previous one stays."""
        if self.refused != str(error):
            self.refused = str(error)
            say("the checkpoint is not taken: %s" % error)

    def _ready(self) -> Optional[Look]:
        found = look(self.path)
        if found is None or found == self._sent or found.age <= _SETTLED or is_written(self.path):
            return None
        return found

    def send(self, until: float, ready: Optional[Look] = None) -> bool:
        """Send the checkpoint. True when a new and consistent one is in the prefix. With `ready`, it must still be
        equal to that snapshot."""
        with self._sending:
            seen = look(self.path)
            if seen is None or seen == self._sent or (ready is not None and seen != ready):
                return False
            key = self._next or self._allocate(until)
            sent = self._put(key, seen, until)
            if sent is None:
                return False
            self._name([sent, *self._chain][:_KEPT], self._new_key(), until)
            # A file that was replaced during the upload is sent the next time.
            self._sent = seen if look(self.path) == seen else None
            self.refused = ""
            return True

    def _new_key(self) -> str:
        return "server/checkpoint/%d-%s" % (self._attempt.number, secrets.token_hex(8))

    def _allocate(self, until: float) -> str:
        self._name(self._chain, self._new_key(), until)
        return self._next

    def _put(self, key: str, seen: Look, until: float) -> Optional[Sent]:
        """Uploads the file, or an archive of the folder. None if it has changed during the upload."""
        self._next = ""
        if self.path.is_dir():
            return self._put_folder(key, seen, until)
        with os.fdopen(open_file(str(self.path)), "rb") as file:
            before = os.fstat(file.fileno())
            if _stamp(before) != seen.files[0][1:]:
                return None
            digest = self._prefix.put_file(key, file, before.st_size, until)
            if not _is_whole(before, os.fstat(file.fileno())):
                return None
            return self._as_sent(key, digest, file.tell(), "file", before)

    def _put_folder(self, key: str, seen: Look, until: float) -> Optional[Sent]:
        try:
            with self._spool.open("w+b") as file:
                pack(self.path, file)
                if look(self.path) != seen:
                    return None
                size = file.tell()
                file.seek(0)
                digest = self._prefix.put_file(key, file, size, until)
            return self._as_sent(key, digest, size, "folder", os.stat(str(self.path)))
        except WrittenWhileRead:
            return None
        finally:
            self._spool.unlink(missing_ok=True)

    def _as_sent(self, key: str, digest: str, size: int, kind: str, found: os.stat_result) -> Sent:
        mode = found.st_mode & 0o777
        return Sent(key, digest, size, kind, mode, self._attempt.number, round(time.time(), 3))

    # Its end.

    def mark(self) -> None:
        """Note the checkpoint's state when the program is told to end."""
        self._marked, self._marked_open = look(self.path), is_written(self.path)

    def finish(self, until: float, *, by_itself: bool) -> bool:
        """Send the checkpoint that the program has left. False when it may be incomplete: the previous one counts
        then."""
        self._over.set()
        self._hurry.set()
        seen = look(self.path)
        if seen is None:
            return True
        if seen == self._sent:
            if self._is_as_sent(until):
                return True
            # It was written through mmap, which does not change its times, so it may be incomplete.
            self._sent = self._marked = None
        untouched = seen == self._marked and not self._marked_open
        if not (by_itself or untouched or seen.renamed_since(self._marked)):
            return False
        try:
            return self.send(until, seen) or look(self.path) == self._sent
        except CannotCheckpoint as error:
            self._refuse(error)
        except OSError as error:
            say("the checkpoint could not be sent: %s" % error)
        return False

    def _is_as_sent(self, until: float) -> bool:
        """Compare the content with what was sent, if there is time to read it."""
        sent = next(iter(self._chain), None)
        if sent is None or sent.size > _READ * max(0.0, until - time.time()) / 2:
            return True
        try:
            if not self.path.is_dir():
                with os.fdopen(open_file(str(self.path)), "rb") as file:
                    return os.fstat(file.fileno()).st_size == sent.size and digest_of(file) == sent.sha256
            with self._spool.open("w+b") as file:
                pack(self.path, file)
            return sha256_of(self._spool) == sent.sha256
        except (WrittenWhileRead, CannotCheckpoint, OSError) as error:
            say("the checkpoint cannot be compared with what was sent: %s" % error)
            return False
        finally:
            self._spool.unlink(missing_ok=True)


def look(path: Path) -> Optional[Look]:
    """A snapshot of the checkpoint's state. None if there is no checkpoint, or if it changes during the look. In a
    folder, it ends before a path that is too long: packing then reports that path."""
    seen: List[Tuple[str, int, int, int]] = []
    try:
        if not path.is_dir():
            return Look((("", *_stamp(os.stat(str(path)))),))
        for inner, found in walk(os.path.realpath(str(path))):
            seen.append((inner, *_stamp(found)))
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG or not seen:
            return None
    return Look(tuple(sorted(seen)))


def _stamp(found: os.stat_result) -> Stamp:
    if stat.S_ISDIR(found.st_mode):
        return found.st_ino, found.st_mode, found.st_ctime_ns
    return found.st_ino, found.st_size, found.st_ctime_ns


def _is_whole(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether a file has not been written while it was read. Being replaced by a rename does not change its content."""
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        return False
    return before.st_ctime_ns == after.st_ctime_ns or after.st_nlink < before.st_nlink


def is_written(path: Path) -> bool:
    """Whether any process has the file, or a file in the folder, open for writing."""
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
    shown = (descriptor.parent.parent / "fdinfo" / descriptor.name).read_text()
    flags = next(line.split()[1] for line in shown.splitlines() if line.startswith("flags:"))
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
