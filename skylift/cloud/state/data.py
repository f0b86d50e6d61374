"""The directories of one cloud that are root's: database, objects, images, disks, lock and log. Only root can change
them.

The cloud's process is root and looks these paths up again and again. Below a directory of the user's, any program of
that user could replace a part of the path between two looks. So each directory from the top of the machine down to
these is root's, which is checked before anything is done in it.

NotRoots             a directory on the way is not root's, or others may write to it
EndpointUnreadable   a cloud runs, and this user may not read where
"""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from skylift.cloud.domain.opening import OpenNow
from skylift.cloud.state.durable import replace_file
from skylift.cloud.state.rootless import rootless

PLACE = Path("/var/lib/skylift")
"""Each user has a directory here, named by the user's number, with a directory for each cloud. SKYLIFT_DATA names
another place, on another disk for example.
"""

_LOOKS = 5
"""At the list of locks, for the lock of a process that is there."""


class NotRoots(Exception):
    """A directory that others than root can change. Says which."""


class EndpointUnreadable(Exception):
    """A file that says where a cloud is, which only root can read. Says which."""


@dataclass(frozen=True)
class Endpoint:
    """The data by which a client finds a running cloud; kept in `cloud.json` (no secrets)."""

    url: str
    region: str
    account: str
    pid: int
    version: str
    loopback: str
    """First address of the cloud's public range: the host's own source address, as its servers see it."""
    tls_url: str = ""
    """The same endpoint over TLS, if there is a certificate for it."""
    no_way_out: str = ""
    """Why servers do not reach the internet, if pasta did not start."""


@dataclass(frozen=True)
class Data:
    """Paths in the data directory of one cloud. Its user may pass through it, read `cloud.json` and the log, and see
    whether there are others; no more."""

    path: Path

    @property
    def database(self) -> Path:
        return self.path / "state.db"

    @property
    def objects(self) -> Path:
        """Files that hold the bytes of S3 objects; small ones are in the database."""
        return self.path / "objects"

    @property
    def images(self) -> Path:
        """The images: one directory for all clouds and users of a machine."""
        return self.path.parents[1] / "images"

    @property
    def user_images(self) -> Path:
        """The place of an earlier version's images for all clouds of a user."""
        return self.path.parent / "images"

    @property
    def images_in_use(self) -> Path:
        """A file with the names of the images that this cloud needs, read when old images are removed."""
        return self.path / "images.json"

    @property
    def captures(self) -> Path:
        """Root directories of the images that the account made from servers."""
        return self.path / "captures"

    @property
    def volumes(self) -> Path:
        """File-system images of volumes."""
        return self.path / "volumes"

    @property
    def snapshots(self) -> Path:
        return self.path / "snapshots"

    @property
    def instances(self) -> Path:
        return self.path / "instances"

    @property
    def log(self) -> Path:
        return self.path / "cloud.log"

    @property
    def certificate(self) -> Path:
        """The endpoint's certificate for TLS, with its private key."""
        return self.path / "tls.pem"

    @property
    def lock(self) -> Path:
        """Held by the running cloud."""
        return self.path / "cloud.lock"

    @property
    def starting(self) -> Path:
        """The lock of a start and of `cloud down`."""
        return self.path / "up.lock"

    @property
    def seen(self) -> Path:
        """Changed about every minute while the cloud runs: what was on then was on at least until then."""
        return self.path / "seen"

    @property
    def models(self) -> Path:
        """The parts of AWS's models that the cloud needs, for the next start."""
        return self.path / "models.json"

    @property
    def down_mark(self) -> Path:
        """A file that exists while the cloud is down by `cloud down`."""
        return self.path / "down"

    @property
    def boot(self) -> Path:
        """Has the id of the machine's boot in which the cloud was last up."""
        return self.path / "boot"

    @property
    def environment(self) -> Path:
        """The variables of the cloud's unit, where systemd starts it."""
        return self.path / "environment"

    @property
    def origin(self) -> Path:
        """Has the path of the state directory that this belongs to."""
        return self.path / "home"

    def make(self) -> None:
        """Make the directories that are missing, and check all of them. Raises NotRoots, OSError."""
        private = (self.instances, self.captures, self.objects, self.volumes, self.snapshots)
        for directory, mode in ((self.path, 0o711), (self.images, 0o711), *((each, 0o700) for each in private)):
            with open_root_directory(directory, mode):
                pass

    def running_pid(self) -> int | None:
        """The process that holds the lock. It is the running cloud if `cloud.json` names the same process.

        The kernel's list of locks is read. Trying the lock instead takes root, and could stop another cloud's start.
        The kernel hands its list out in pages of 4 KiB, and skips a lock if another one is released between two pages:
        beside a browser, one look in a thousand misses it.

        Raises EndpointUnreadable if a process holds the lock, but `cloud.json` cannot be read.
        """
        try:
            inode = self.lock.stat().st_ino
        except FileNotFoundError:
            return None
        try:
            endpoint = self.endpoint()
        except EndpointUnreadable:
            if any(_has_lock(None, inode) for _ in range(_LOOKS)):
                raise
            return None
        if endpoint is None:
            return None
        looks = _LOOKS if _is_there(endpoint.pid) else 1
        return endpoint.pid if any(_has_lock(endpoint.pid, inode) for _ in range(looks)) else None

    def endpoint(self) -> Endpoint | None:
        """The endpoint that the last cloud here wrote; that cloud may have ended. Raises EndpointUnreadable."""
        try:
            return Endpoint(**json.loads(self._endpoint.read_text()))
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise EndpointUnreadable(str(self._endpoint)) from error

    def write_endpoint(self, endpoint: Endpoint) -> None:
        replace_file(self._endpoint, json.dumps(asdict(endpoint), indent=2).encode(), 0o644)

    def show_to_user(self) -> None:
        """Let the user read what a client needs of a running cloud. An earlier version made it root's alone where the
        umask was strict. Raises NotRoots, OSError."""
        with open_root_directory(self.path) as directory:
            for file in (self._endpoint, self._openings):
                with suppress(FileNotFoundError):
                    descriptor = os.open(file.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
                    try:
                        os.fchmod(descriptor, 0o644)
                    finally:
                        os.close(descriptor)

    @property
    def _endpoint(self) -> Path:
        return self.path / "cloud.json"

    @property
    def _openings(self) -> Path:
        return self.path / "open.json"

    def open_now(self) -> list[OpenNow] | None:
        """The openings of the last cloud here; None if it has not recorded them."""
        try:
            found = json.loads(self._openings.read_text())
        except FileNotFoundError:
            return None
        return [OpenNow(**{**one, "open": tuple(one["open"])}) for one in found]

    def write_open_now(self, entries: Sequence[OpenNow]) -> None:
        content = json.dumps([asdict(one) for one in entries], indent=2)
        replace_file(self._openings, content.encode(), 0o644)


def _has_lock(pid: int | None, inode: int) -> bool:
    """Whether this process holds the lock of this file; without one, whether any does."""
    for line in Path("/proc/locks").read_text().splitlines():
        # `1: FLOCK  ADVISORY  WRITE 4711 fe:00:131077 0 EOF`; lines with an arrow are of those who wait.
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode) and pid in (None, int(fields[4])):
            return True
    return False


def _is_there(pid: int) -> bool:
    """Whether there is such a process, of any user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def open_root_directory(path: Path, mode: int = 0o711) -> Iterator[int]:
    """A descriptor of a directory that root owns, like all its parents; missing ones are made. The path is walked from
    the top, step by step, so that the checked directory is the opened one. Raises NotRoots, OSError.
    """
    descriptor = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for depth, name in enumerate(path.parts[1:], 2):
            here = Path(*path.parts[:depth])
            inner = _step(descriptor, name, here, mode if here == path else 0o711)
            os.close(descriptor)
            descriptor = inner
            _require_root(descriptor, here, is_last=here == path)
        yield descriptor
    finally:
        os.close(descriptor)


def is_root_path(path: Path) -> bool:
    """Whether this file or directory, and all above it, is root's. False if it is missing."""
    if rootless():
        return True
    try:
        for here in (path, *path.parents):
            found = here.lstat()
            if stat.S_ISLNK(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
                return False
    except OSError:
        return False
    return True


def _step(above: int, name: str, here: Path, mode: int) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=above)
    except FileNotFoundError:
        with suppress(FileExistsError):
            os.mkdir(name, mode, dir_fd=above)
            os.fsync(above)
        made = os.open(name, flags, dir_fd=above)
        # Whatever the umask is.
        os.fchmod(made, mode)
        return made
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise NotRoots(f"{here} is a link, or not a directory") from error
        raise


def _require_root(descriptor: int, here: Path, *, is_last: bool) -> None:
    found = os.fstat(descriptor)
    if (os.geteuid() != 0 or rootless()) and not is_last:
        # Without root, nothing here must be protected from the user.
        return
    if found.st_uid != os.geteuid():
        raise NotRoots(f"{here} belongs to the user with the id {found.st_uid}, not to root")
    if found.st_mode & 0o022:
        raise NotRoots(f"{here} can be written to by others (its mode is {stat.S_IMODE(found.st_mode):o})")


def open_for_user(path: Path, uid: int) -> int:
    """A file of root's to append to, which this user may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0 and uid != 0:
        # If the file system has no access lists, only root reads the file.
        with suppress(OSError):
            os.setxattr(descriptor, "system.posix_acl_access", _readable_by(uid))
    return descriptor


def _readable_by(uid: int) -> bytes:
    """An access list (acl(5), in the kernel's form): its owner reads and writes, and this user reads."""
    nobody = 0xFFFFFFFF
    owner, user, group, mask, other = 0x01, 0x02, 0x04, 0x10, 0x20
    entries = ((owner, 6, nobody), (user, 4, uid), (group, 0, nobody), (mask, 4, nobody), (other, 0, nobody))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
