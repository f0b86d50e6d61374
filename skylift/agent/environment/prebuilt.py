"""Environments that are shared between jobs: downloaded from the bucket, or uploaded for later jobs.

A place in the bucket holds one environment:

    proven.json     {"sha256"}: of the index, if all files come from wheels; {} if not. Written before any code of a
                    package may run, and never again
    pin.json        {"sha256"}, if proven.json has none: written before the program starts, and never again
    index.json      {"home", "lock", "entries", "packs"}; written last
    pack-NUMBER     the contents of files, one after the other

Entries are [path, "d", mode], [path, "l", target] and [path, "f", mode, size, modified], with paths below the login
user's home; packs are [first, end, sha256], of the entries that are files. `modified` is in whole seconds: Python tells
by it whether its bytecode is of this source. `lock` is what a project without a lock was resolved to.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import stat
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, NamedTuple, Optional, Union

from skylift.agent.environment.environment_index import Changed, parse_index
from skylift.agent.environment.unpack import sha256_of
from skylift.agent.environment.wheel_check import Contents, check_files
from skylift.agent.job.login_user import Login
from skylift.agent.machine.concurrently import thread_pool
from skylift.agent.machine.console import say
from skylift.agent.machine.remove_tree import remove_below
from skylift.agent.machine.walk import walk
from skylift.agent.remote.aws import Refused, Unreachable, retry_until
from skylift.agent.remote.prefix import Prefix

PROVEN, OWN = "proven.json", "pin.json"
"""The pins. Any job may use an environment with the first one; the second one is for jobs of the same source."""
PACK = 16 << 20
"""Bytes after which a pack is closed. A larger file gets a separate pack."""
_AT_A_TIME = 4
_TAKING = 60
"""Seconds to download an environment, before it is built instead."""
_PINNING = 30
"""Seconds to upload the pin."""
_KEEPING = 300
"""Seconds to upload the files. Results share the memory for uploads with them, and must not time out before."""
_MASKED = 0o022
_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_LEAST = 15.0
"""Seconds that keeping an environment may take after the program's end, however quickly it was built."""

Entry = List[Any]


def names_at(place: str) -> Dict[str, str]:
    """What an environment of this place is called by its pin: all that have a name are taken for each other."""
    return {PROVEN: place.rpartition("/")[0], OWN: place.rpartition("-")[0]}


class EnvironmentOwner(NamedTuple):
    """The owner of an environment's files if it is not the login user, and the folder that their paths begin at."""

    home: Path
    uid: int
    gid: int


class PrebuiltEnvironment:
    """`named` is what the record says: the digest of the index that the place must have, empty where nothing is there
    yet, and whether this server may put something there, which is `shared`. `folders` are what an environment consists
    of, as far as they are there."""

    def __init__(
        self,
        prefix: Prefix,
        named: Dict[str, Any],
        login: Union[Login, EnvironmentOwner],
        folders: List[Path],
        say: Callable[[str], None] = say,
    ) -> None:
        self._prefix, self._login, self._folders, self._say = prefix, login, folders, say
        self._sha256, self.names = named["sha256"], names_at(named["place"])
        self.shared = named["shared"] and not self._sha256
        self._name = self.names[PROVEN if named.get("proven") else OWN]
        self._index: Dict[str, Any] = {}
        self._keeping: Optional[threading.Thread] = None
        self._over = threading.Event()
        self._patience = _LEAST

    # Taken.

    def take(self) -> Optional[Dict[str, Any]]:
        """Download the environment. Returns its index; None when it has to be built."""
        if not self._sha256:
            return None
        self._clear()
        masked = os.umask(_MASKED)
        try:
            return self._take(time.time() + _TAKING)
        except (Unreachable, Refused, Changed, OSError) as error:
            self._say("the environment that was built before cannot be taken: %s" % error)
            self._clear()
            return None
        finally:
            os.umask(masked)

    def _clear(self) -> None:
        for folder in self._folders:
            with contextlib.suppress(OSError):
                remove_below(self._login.home, folder)

    def _take(self, until: float) -> Dict[str, Any]:
        text = retry_until("environment", lambda: self._prefix.get("index.json"), until, self._say)
        if text is None or hashlib.sha256(text).hexdigest() != self._sha256:
            raise Changed("its index is not the one that the record names")
        index = parse_index(text, self._login.home, self._folders)
        self._fill(index, until)
        return dict(index, name=self._name)

    def _fill(self, index: Dict[str, Any], until: float) -> None:
        """The environment's own folders are root's alone until they are full."""
        modes = {}
        for path, kind, *more in index["entries"]:
            place = self._login.home / path
            if kind == "d" and place in self._folders:
                place.mkdir(mode=0o700)
                modes[place] = more[0]
            elif kind == "d":
                self._make(place, more[0])
            elif kind == "l":
                os.symlink(more[0], str(place))
                self._give(place)
        _for_each_pack(index, partial(self._take_pack, until))
        for place, mode in modes.items():
            self._give(place)
            place.chmod(mode)

    def _make(self, place: Path, mode: int) -> None:
        """A folder that the environment's own are in may be there, and stays as it is."""
        try:
            place.mkdir()
        except FileExistsError:
            if not stat.S_ISDIR(place.lstat().st_mode):
                raise
            return
        self._give(place)
        place.chmod(mode)

    def _give(self, place: Path) -> None:
        os.lchown(str(place), self._login.uid, self._login.gid)

    def _take_pack(self, until: float, number: int, files: List[Entry], digest: str) -> None:
        key = _pack(number)
        if len(files) == 1:
            path, _, mode, _, modified = files[0]
            place = self._login.home / path
            retry_until(key, lambda: self._prefix.fetch(key, place), until, self._say)
            if sha256_of(place) != digest:
                raise Changed(path)
            self._give(place)
            place.chmod(mode)
            os.utime(str(place), (modified, modified))
            return
        content = retry_until(key, lambda: self._prefix.get(key), until, self._say)
        if content is None:
            raise Refused(404, "%s is not there" % key)
        if hashlib.sha256(content).hexdigest() != digest:
            raise Changed(key)
        start, whole = 0, memoryview(content)
        for path, _, mode, size, modified in files:
            data, start = whole[start : start + size], start + size
            self._write(str(self._login.home / path), data, mode, modified)

    def _write(self, place: str, data: memoryview, mode: int, modified: int) -> None:
        """Write a file with few system calls: there are thousands of small files."""
        file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            os.fchown(file, self._login.uid, self._login.gid)
            if mode & _MASKED:
                os.fchmod(file, mode)
            while data:
                data = data[os.write(file, data) :]
            if place.endswith(".py"):
                os.utime(file, (modified, modified))
        finally:
            os.close(file)

    # Kept.

    def prove(self, venv: Path) -> None:
        """Raises Changed unless all files of a virtual environment come from its wheels."""
        found: Contents = {}
        top = str(venv.relative_to(self._login.home)) + "/"
        try:
            for path, kind, *more in self._entries():
                if path.startswith(top):
                    value = self._digest([path]) if kind == "f" else more[0] if kind == "l" else ""
                    found[path[len(top) :]] = (kind, value)

            def content(path: str) -> bytes:
                with self._open(top + path) as file:
                    return file.read()

            check_files(found, content)
        except OSError as error:
            raise Changed(str(error)) from None

    def close(self, pin: str) -> None:
        """Writes an empty pin, so that nothing with this server's role can pin. Raises Unreachable and Refused."""
        if self.shared:
            until = time.time() + _PINNING
            retry_until("environment", lambda: self._prefix.put(pin, b"{}", first=True), until, self._say)

    def write_down(self, lock: Optional[str], seconds: float, pin: str = PROVEN) -> bool:
        """Writes the index of the environment that was built in `seconds`, before the program can have changed it. If
        it cannot be written, or processes that the build has left running change files, the environment is not shared.
        Returns False if no pin was written, though this server may still write one.
        """
        if not self.shared:
            return True
        self._patience = max(seconds, _LEAST)
        try:
            entries = list(self._entries())
            files = [entry for entry in entries if entry[1] == "f"]
            paths = [path for path, *_ in files]
            packs = [[first, end, self._digest(paths[first:end])] for first, end in _packs(files)]
            index = {"home": str(self._login.home), "lock": lock, "entries": entries, "packs": packs}
            body = json.dumps(index).encode()
            text = json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode()
            until = time.time() + _PINNING
            if retry_until("environment", lambda: self._prefix.put(pin, text, first=True), until, self._say):
                self._index = index
        except (Unreachable, Refused, Changed, OSError) as error:
            self._say("the environment is not kept: %s" % error)
            return False
        return True

    def _entries(self) -> Iterator[Entry]:
        """Raises Changed or OSError."""
        for folder in self._folders:
            path = folder.relative_to(self._login.home)
            if not os.path.lexists(str(folder)):
                continue
            # Python 3.9 cannot slice `parents`.
            for above in reversed(list(path.parents)[:-1]):
                yield self._folder(str(above))
            yield self._folder(str(path))
            for inner, found in walk(str(folder)):
                if inner:
                    yield self._entry(str(path / inner), found)

    def _folder(self, path: str) -> Entry:
        found = os.lstat(str(self._login.home / path))
        if not stat.S_ISDIR(found.st_mode):
            raise Changed("%a is behind a link" % path)
        return self._entry(path, found)

    def _entry(self, path: str, found: os.stat_result) -> Entry:
        mode = stat.S_IMODE(found.st_mode)
        if stat.S_ISLNK(found.st_mode):
            return [path, "l", os.readlink(str(self._login.home / path))]
        if stat.S_ISDIR(found.st_mode):
            return [path, "d", mode]
        return [path, "f", mode, found.st_size, int(found.st_mtime)]

    def _open(self, path: str) -> BinaryIO:
        """Opens a regular file. A pipe or device could block, or never end. Raises Changed or OSError."""
        file = os.fdopen(os.open(str(self._login.home / path), _READING), "rb")
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise Changed("%a is not a file any more" % path)
        return file

    def _digest(self, paths: List[str]) -> str:
        digest = hashlib.sha256()
        for path in paths:
            with self._open(path) as file:
                for piece in iter(lambda: file.read(1 << 20), b""):
                    digest.update(piece)
        return digest.hexdigest()

    def keep(self) -> None:
        """Uploads the files while the program runs. Files that the program changes before are left out."""
        if self._index:
            self._keeping = threading.Thread(target=self._keep, name="environment", daemon=True)
            self._keeping.start()

    def stop(self, cancelled: Callable[[], bool]) -> None:
        """Stop after the job's end. An upload that has begun may finish, if that takes no longer than the build did."""
        until = time.time() + (0 if cancelled() else self._patience)
        if self._keeping is not None:
            self._keeping.join(max(0.0, until - time.time()))
        self._over.set()

    def _keep(self) -> None:
        try:
            _for_each_pack(self._index, partial(self._keep_pack, time.time() + _KEEPING))
            self._prefix.put("index.json", json.dumps(self._index).encode())
        except (Unreachable, Refused, Changed, OSError) as error:
            self._say("the environment is not kept: %s" % error)

    def _keep_pack(self, until: float, number: int, files: List[Entry], digest: str) -> None:
        if self._over.is_set():
            raise Changed("the job has ended")
        whole = bytearray()
        for path, _, _, size, _ in files:
            with self._open(path) as file:
                if os.fstat(file.fileno()).st_size != size:
                    raise Changed(path)
                if len(files) == 1:
                    if self._prefix.put_file(_pack(number), file, size, until) != digest:
                        raise Changed(path)
                    return
                whole += file.read(size)
        if hashlib.sha256(whole).hexdigest() != digest:
            raise Changed(_pack(number))
        self._prefix.put_file(_pack(number), io.BytesIO(whole), len(whole), until)


def _for_each_pack(index: Dict[str, Any], call: Callable[[int, List[Entry], str], None]) -> None:
    """Several at a time: each by its number, with its files and its digest."""
    files = [entry for entry in index["entries"] if entry[1] == "f"]
    with thread_pool(_AT_A_TIME) as pool:
        packs = enumerate(index["packs"])
        work = [pool.submit(call, number, files[first:end], digest) for number, (first, end, digest) in packs]
        for each in work:
            each.result()


def _pack(number: int) -> str:
    return "pack-%05d" % number


def _packs(files: List[Entry]) -> Iterator[List[int]]:
    first, size = 0, 0
    for number, entry in enumerate(files):
        if entry[3] > PACK and number > first:
            yield [first, number]
            first, size = number, 0
        size += entry[3]
        if size > PACK:
            yield [first, number + 1]
            first, size = number + 1, 0
    if first < len(files):
        yield [first, len(files)]
