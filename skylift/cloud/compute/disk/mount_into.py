"""Mounts a file system into a running server, as its root sees it, and unmounts it.

A server cannot mount: it has no CAP_SYS_ADMIN. So one of our threads copies the host's mount, maps its file owners by
the server's user namespace, enters the server's mount namespace and attaches the copy there. All paths are looked up in
that namespace, so that a server's symbolic link cannot lead to the host's files.

AttachError
+-- AttachRefused   the kernel refused; says which call
+-- ServerGone       the server ended before the mount was attached
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from skylift.cloud.compute.disk import mount_tree
from skylift.cloud.compute.disk.disk import DiskError, DiskInUse
from skylift.cloud.compute.disk.mount_table import mounts
from skylift.cloud.compute.own_thread import in_own_thread

_CLONE_FS, _CLONE_NEWNS = 0x200, 0x20000
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8

_LIBC = ctypes.CDLL(None, use_errno=True)


class AttachError(DiskError):
    """A volume could not be put into a server or taken out of it."""


class AttachRefused(AttachError):
    """A system call failed."""


class ServerGone(AttachError):
    """The server is no longer there."""


def mount_point(device: str) -> str:
    """Where a server finds the volume that is attached as this device: `/mnt/sdf` for `/dev/sdf`."""
    return f"/mnt/{device.rpartition('/')[2]}"


def mount_into(pid: int, source: Path, device: str, owner: int) -> None:
    """Mounts the file system at `source` in the server with this init. Does nothing if it is mounted there already.

    `owner` is the host uid of the server's root, which owns the mount point.
    """
    if _places(pid, source):
        return

    def inside() -> None:
        with ExitStack() as end:
            users = _open(f"/proc/{pid}/ns/user", end)
            mounts = _open(f"/proc/{pid}/ns/mnt", end)
            tree = end.enter_context(mount_tree.copied_mount(source))
            # Set-uid programs work in the server, as they do on a disk. On the host they do not.
            mount_tree.set_attributes(
                tree, mount_tree.MountAttr(attr_set=mount_tree.IDMAP, attr_clr=mount_tree.NOSUID, userns_fd=users)
            )
            _enter(mounts)
            place = Path(mount_point(device))
            with suppress(FileExistsError):
                place.mkdir()
                os.chown(place, owner, owner)
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            target = os.open(place, flags)
            end.callback(os.close, target)
            mount_tree.put(tree, target)

    _in_thread(inside, pid)


def mount_over(pid: int, source: Path, target: str) -> None:
    """Put the host's file `source`, for reading, over the file `target` of the server of this init."""

    def inside() -> None:
        with ExitStack() as end:
            mounts = _open(f"/proc/{pid}/ns/mnt", end)
            tree = end.enter_context(mount_tree.copied_mount(source))
            mount_tree.set_attributes(
                tree,
                mount_tree.MountAttr(
                    attr_set=mount_tree.RDONLY | mount_tree.NOSUID | mount_tree.NODEV | mount_tree.NOEXEC
                ),
            )
            _enter(mounts)
            place = os.open(target, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            end.callback(os.close, place)
            mount_tree.put(tree, place)

    _in_thread(inside, pid)


def uncover(pid: int, covered: str, places: Sequence[str], spare: str) -> None:
    """Puts parts of the file system at `covered` back over the mounts that hide them, in the server with this init. The
    server must not have begun to run. `spare` is one of its directories: it holds the file system during the move.
    """

    def inside() -> None:
        with ExitStack() as end:
            _enter(_open(f"/proc/{pid}/ns/mnt", end))

            def move(source: str, target: str) -> None:
                with ExitStack() as moved:
                    tree = moved.enter_context(mount_tree.copied_mount(Path(source)))
                    place = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                    moved.callback(os.close, place)
                    mount_tree.put(tree, place)

            move(covered, spare)
            try:
                for place in places:
                    move(f"{spare}/{place}", f"{covered}/{place}")
            finally:
                _unmount(spare, _MNT_DETACH)

    _in_thread(inside, pid)


def unmount_from(pid: int, source: Path, force: bool) -> None:
    """Take it out. Raises DiskInUse as long as programs in the server use it; with `force` they keep what they have
    open, and find nothing there any more."""
    take_out(pid, _places(pid, source), force)


def take_out(pid: int, places: Sequence[str], force: bool) -> None:
    """The same, by the places where it is in there."""
    if not places:
        return

    def inside() -> None:
        with ExitStack() as end:
            _enter(_open(f"/proc/{pid}/ns/mnt", end))
            for place in places:
                _unmount(place, _MNT_DETACH if force else 0)
                with suppress(OSError):
                    # It was made for the mount; a directory that has something in it stays.
                    os.rmdir(place)  # noqa: PTH106 - the path of another namespace

    _in_thread(inside, pid)


def _places(pid: int, source: Path) -> list[str]:
    """The places where the server has this file system, found by its device number: a directory above may have been
    renamed."""
    device = source.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        return [str(mount.place) for mount in mounts(pid) if mount.device == wanted]
    except OSError:
        return []


def _enter(descriptor: int) -> None:
    """Into a mount namespace; a thread's root and current directory have to be its own for that."""
    if _LIBC.unshare(_CLONE_FS) != 0 or _LIBC.setns(descriptor, _CLONE_NEWNS) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")


def _open(path: str, end: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    end.callback(os.close, descriptor)
    return descriptor


def _unmount(place: str, flags: int) -> None:
    if _LIBC.umount2(place.encode(), _UMOUNT_NOFOLLOW | flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), place)


def _in_thread(action: Callable[[], None], pid: int) -> None:
    """The thread may be in another namespace by its end."""
    try:
        in_own_thread(action)
    except OSError as error:
        if isinstance(error, FileNotFoundError | ProcessLookupError) and not Path(f"/proc/{pid}").exists():
            raise ServerGone(f"process {pid} has ended") from error
        if error.errno == errno.EBUSY:
            raise DiskInUse(f"{error.filename}: programs in the server use it") from error
        raise AttachRefused(f"mount in a server, or unmount: {error.strerror}") from error
