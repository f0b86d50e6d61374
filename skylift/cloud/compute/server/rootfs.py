"""A server's root: its image, seen through its own uids, under the disk that takes its writes.

RootfsError
+-- MountRefused   the kernel or the state directory's file system cannot do it; says what to try
+-- NoRoomForRoot       there is no room for the server's disk
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import stat
from collections.abc import Callable, Iterable
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from skylift.cloud.compute.disk.mount_table import mounts
from skylift.cloud.compute.disk.mount_tree import (
    IDMAP,
    NODEV,
    NOSUID,
    RDONLY,
    MountAttr,
    copied_mount,
    put,
    set_attributes,
)
from skylift.cloud.compute.error import ComputeError
from skylift.cloud.compute.own_thread import in_own_thread
from skylift.cloud.compute.server.oci import UIDS
from skylift.cloud.compute.server.owner_map import owner_map
from skylift.cloud.state.rootless import STORED, rootless

_CLONE_FS = 0x00000200
_MS_NODEV = 4
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_LIBC = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")
_HOSTNAME = re.compile(
    r"(?=.{1,64}\Z)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)


class RootfsError(ComputeError):
    """A server's root could not be made or removed."""


class MountRefused(RootfsError):
    """A mount failed."""


class NoRoomForRoot(RootfsError):
    """There is no room for the server's disk."""


@dataclass(frozen=True)
class SeedFile:
    """A file to be put into a server before its first boot, or before each; `uid` and `gid` as the server sees them."""

    path: str
    content: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    each_boot: bool = False


@dataclass(frozen=True)
class Rootfs:
    """`runtime` is the server's directory under /run, which its root can traverse; `disk` outlives a boot."""

    image: Path
    disk: Path
    runtime: Path
    uid_base: int

    @property
    def root(self) -> Path:
        return self.runtime / "root"

    @property
    def lower(self) -> Path:
        return self.runtime / "lower"

    def mount(self) -> None:
        """Mount the missing parts, for a server that is made next; `close` once it is made."""
        try:
            self._make_directories()
        except OSError as error:
            raise not_made(error) from error
        if not is_mounted(self.lower):
            try:
                # Without root the files have these owners on the disk.
                _bind(self.image, self.lower, 0 if rootless() else owner_map(STORED, self.uid_base, UIDS))
            except OSError as error:
                raise _refused(f"mount {self.image} at {self.lower}: {error.strerror}") from error
        if not is_mounted(self.root):
            layers = f"lowerdir={self.lower},upperdir={self.disk / 'upper'},workdir={self.disk / 'work'}"
            layers += ",userxattr" if rootless() else ""
            _mount_overlay(layers, self.root)
        else:
            # The mount was closed for a server that has ended: set-uid programs must work in the next one.
            set_attributes(self.root, MountAttr(attr_clr=NOSUID))

    def close(self) -> None:
        """Closes the root: the host runs nothing there with the server's ids, and opens none of its devices.

        Once the server is made: its mount namespace has a copy then, with the flags that the mount had.
        """
        try:
            for mount in (self.lower, self.root):
                set_attributes(mount, MountAttr(attr_set=NOSUID | NODEV))
        except OSError as error:
            raise MountRefused(f"set nosuid and nodev on {mount}: {error.strerror}") from error

    def _make_directories(self) -> None:
        for directory in (self.lower, self.root):
            directory.mkdir(parents=True, exist_ok=True)
        for name in ("upper", "work"):
            directory = self.disk / name
            directory.mkdir(parents=True, exist_ok=True)
            os.chown(directory, self.uid_base, self.uid_base)

    def unmount(self) -> None:
        """Also removes the mount points: deleting the runtime directory later must never walk into the image."""
        for directory in (self.root, self.lower):
            if is_mounted(directory):
                # Lazily: a process that was killed a moment ago may still be on its way out of the directory.
                _unmount(directory)
            try:
                directory.rmdir()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise RootfsError(f"cannot remove the mount point {directory}: {error.strerror}") from error

    def write(self, files: Iterable[SeedFile]) -> None:
        """Put files into the mounted root; a link in it never leads out, since the writer is chrooted there."""
        wanted = list(files)

        def write() -> None:
            for file in wanted:
                # A link may lead to a volume, which is not there yet: only a server's first files have to be.
                with suppress(FileExistsError) if file.each_boot else nullcontext():
                    self._write_file(file)

        self._inside(write)

    def sync(self, files: Iterable[SeedFile]) -> None:
        """Have those that are not written anew at each boot be there after a power cut, too."""
        lasting = [file.path for file in files if not file.each_boot]
        self._inside(lambda: _sync_all(lasting))

    def _inside(self, act: Callable[[], T]) -> T:
        def work() -> T:
            self._enter()
            return act()

        try:
            return in_own_thread(work)
        except OSError as error:
            raise not_made(error) from error

    def can_run(self, program: str) -> bool:
        """Whether the mounted root has such a program."""
        return self._inside(lambda: os.access(program, os.X_OK))

    def hostname(self) -> str | None:
        """The name in the server's /etc/hostname; None if that is not a valid name."""
        found: list[str] = []

        def read() -> None:
            # Non-blocking: opening a pipe without a writer would wait.
            descriptor = os.open("/etc/hostname", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    found.append(os.read(descriptor, 256).decode(errors="replace").strip())
            finally:
                os.close(descriptor)

        with suppress(RootfsError):
            self._inside(read)
        return found[0] if found and _HOSTNAME.fullmatch(found[0]) else None

    def _enter(self) -> None:
        """For a thread that ends with it: its root directory is the server's from here on, and no link leads out."""
        if _LIBC.unshare(_CLONE_FS) != 0:
            raise OSError(ctypes.get_errno(), "unshare(CLONE_FS)")
        os.chroot(self.root)
        os.chdir("/")

    def _write_file(self, file: SeedFile) -> None:
        uid, gid = self.uid_base + file.uid, self.uid_base + file.gid
        for parent in reversed(Path(file.path).parents):
            if not parent.exists():
                parent.mkdir(mode=0o700 if parent.name == ".ssh" else 0o755)
            if parent.stat().st_uid < self.uid_base:
                # Just made, or left by a process of ours that was killed before the chown.
                os.chown(parent, uid, gid)
        Path(file.path).unlink(missing_ok=True)
        descriptor = os.open(file.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, file.mode)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(file.content)
            os.fchown(descriptor, uid, gid)
            # The process's umask must not count.
            os.fchmod(descriptor, file.mode)


def not_made(error: OSError) -> RootfsError:
    """Why a server's root could not be made or written."""
    kind = NoRoomForRoot if error.errno in (errno.ENOSPC, errno.EDQUOT) else RootfsError
    return kind(f"cannot write {error.filename or 'its root'}: {error.strerror}")


def _sync_all(paths: Iterable[str]) -> None:
    """Opens all before the first sync: one wait for the disk then covers the others."""
    with ExitStack() as opened:
        descriptors = []
        for path in paths:
            descriptors.append(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
            opened.callback(os.close, descriptors[-1])
        for each in descriptors:
            os.fsync(each)


def is_mounted(directory: Path) -> bool:
    """Asks the kernel's own table: a bind mount of the same file system shows in no attribute of the directory."""
    return any(mount.place == directory for mount in mounts())


def _bind(image: Path, place: Path, owners: int) -> None:
    """Shows an image with the owners that a server sees. Read-only: nothing that goes wrong below /run can reach it."""
    with copied_mount(image) as tree:
        flags = RDONLY | NOSUID | NODEV | (IDMAP if owners else 0)
        set_attributes(tree, MountAttr(attr_set=flags, userns_fd=owners))
        target = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            put(tree, target)
        finally:
            os.close(target)


def _mount_overlay(layers: str, target: Path) -> None:
    """Calls the kernel itself instead of mount(8): starting a program takes longer, and every boot needs it."""
    if _LIBC.mount(b"overlay", bytes(target), b"overlay", ctypes.c_ulong(_MS_NODEV), layers.encode()) == 0:
        return
    code = ctypes.get_errno()
    if code == errno.ENOSPC:
        raise NoRoomForRoot(f"cannot mount {target}: {os.strerror(code)}")
    raise _refused(f"mount -t overlay -o {layers} overlay {target}: {os.strerror(code)}")


def _refused(what: str) -> MountRefused:
    return MountRefused(
        f"{what}. A server's disk needs overlayfs with an idmapped lower directory: Linux 5.19, util-linux 2.39 "
        "and a data directory on ext4, xfs or btrfs. `skylift doctor` shows which is missing."
    )


def _unmount(directory: Path) -> None:
    if _LIBC.umount2(bytes(directory), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
        raise RootfsError(f"unmount {directory}: {os.strerror(ctypes.get_errno())}")
