"""Volumes as file systems: each an image file in the state directory, mounted on the host while a server has it.

Only the host's kernel writes to these images. A server gets no block device, so it cannot forge the file system that
the host mounts.

DiskError
+-- DiskRefused   a program or the kernel refused; carries its words
|   +-- NoRoom    the host's disk is full
+-- DiskInUse     a mount that programs still use
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from skylift.cloud.compute.disk.mount_table import mounts_below
from skylift.cloud.compute.error import ComputeError
from skylift.cloud.compute.image.stored import FILL, MKFS, seen_from_inside
from skylift.cloud.compute.program import begin, last_words
from skylift.cloud.state.durable import sync_directory
from skylift.cloud.state.program import find_program, own_environment
from skylift.cloud.state.rootless import rootless

GIB = 1 << 30

_FIFREEZE, _FITHAW = 0xC0045877, 0xC0045878
_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2
_FICLONE = 0x40049409
_CHUNK = 1 << 30
_MAKING = ".making-"
"""The name of an incomplete file begins with this."""
_USUAL_GIB = 8
"""The size of most root disks. An empty one is kept: to copy it takes a hundredth of the time of mkfs."""

_PATIENCE = 2.0
"""Seconds until nothing uses a file system that was in use a moment ago."""


class DiskError(ComputeError):
    """A volume or a snapshot could not be made, mounted or removed."""


class DiskRefused(DiskError):
    """The kernel or a program failed."""


class NoRoom(DiskRefused):
    """The host's disk has no room for it."""


class DiskInUse(DiskError):
    """Programs use the file system."""


def remove_unfinished(*directories: Path) -> None:
    """Remove what a process was writing there when it was killed. It may have filled the disk."""
    for directory in directories:
        for file in directory.glob(f"{_MAKING}*"):
            file.unlink()


class Disks:
    """File-system images of volumes and snapshots.

    `volumes` and `snapshots` are directories of the state directory; `mounts` is under /run, for root alone: what is
    mounted there has files with the uids that servers see.
    """

    def __init__(self, volumes: Path, snapshots: Path, mounts: Path) -> None:
        self._volumes = volumes
        self._snapshots = snapshots
        self._mounts = mounts
        self._lock = threading.Lock()

    def volume(self, volume_id: str) -> Path:
        return self._volumes / f"{volume_id}.img"

    def snapshot(self, snapshot_id: str) -> Path:
        return self._snapshots / f"{snapshot_id}.img"

    def place(self, volume_id: str) -> Path:
        """Where a volume is mounted on the host."""
        return self._mounts / volume_id

    # Making and removing. A new image appears complete, under its name, or not at all.

    def make(self, volume_id: str, size_gib: int) -> None:
        """An empty file system that uses next to nothing until it is written to."""
        with _appearing(self.volume(volume_id)) as file:
            if size_gib == _USUAL_GIB:
                clone(self._empty(), file)
            else:
                _format(file, size_gib)

    def _empty(self) -> Path:
        file = self._volumes / "empty.img"
        with self._lock:
            if not file.exists():
                with _appearing(file) as making:
                    _format(making, _USUAL_GIB)
        return file

    def make_from(self, volume_id: str, size_gib: int, snapshot_id: str) -> None:
        """The file system of a snapshot, as large as the volume."""
        with _appearing(self.volume(volume_id)) as file:
            clone(self.snapshot(snapshot_id), file)
            if file.stat().st_size < size_gib * GIB:
                grow_file(file, size_gib)

    def make_of_tree(self, volume_id: str, size_gib: int, tree: Path) -> None:
        """Makes a file system with the content of an image's root directory, with ids as servers see them."""
        with _appearing(self.volume(volume_id)) as file:
            _truncate(file, size_gib * GIB)
            self._mounts.mkdir(mode=0o700, parents=True, exist_ok=True)
            script = ["sh", "-ec", f'{FILL}fill "$@"', "fill", *map(str, (tree, file, self._mounts))]
            run(*seen_from_inside(tree, script))

    def make_by(self, volume_id: str, fill: Callable[[Path], None]) -> int:
        """Has `fill` write a file system, and answers its size in GiB. An existing one is replaced."""
        with _appearing(self.volume(volume_id)) as file:
            fill(file)
            return file.stat().st_size >> 30

    def share(self, source_id: str, snapshot_id: str) -> None:
        """A snapshot that is a copy of another one: neither ever changes, so that one file is enough."""
        target = self.snapshot(snapshot_id)
        target.unlink(missing_ok=True)
        _trying(f"link {target}", os.link, self.snapshot(source_id), target)
        sync_directory(target.parent)

    def made(self, volume_id: str) -> bool:
        return self.volume(volume_id).exists()

    def remove(self, volume_id: str) -> None:
        """Remove a volume, also a mounted one. Data that have not been written to the host's disk never are."""
        if volume_id in self.mounted():
            with _opened(self.place(volume_id)) as descriptor, suppress(OSError):
                fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        self.unmount(volume_id)
        self.volume(volume_id).unlink(missing_ok=True)

    def present(self) -> tuple[set[str], set[str]]:
        """Ids of the volumes and of the snapshots that have a file."""
        volumes = {file.stem for file in self._volumes.glob("vol-*.img")}
        return volumes, {file.stem for file in self._snapshots.glob("snap-*.img")}

    def remove_snapshot(self, snapshot_id: str) -> None:
        self.snapshot(snapshot_id).unlink(missing_ok=True)

    def sweep(self) -> None:
        """At start: thaw every frozen file system, and remove unfinished files."""
        mounted = self.mounted()
        for volume_id in mounted:
            self._thaw(volume_id)
        if self._mounts.exists():
            for place in self._mounts.iterdir():
                if place.name not in mounted:
                    # A kill left it before anything was mounted. A directory with content is something else, and stays.
                    with suppress(OSError):
                        place.rmdir()
        remove_unfinished(self._volumes, self._snapshots)

    # Mounting on the host.

    def mounted(self) -> set[str]:
        return {path.name for path in mounts_below(self._mounts)}

    def mount(self, volume_id: str) -> Path:
        """Mount it where it is not mounted yet. Deleted files give their room back to the host (`discard`)."""
        place = self.place(volume_id)
        if rootless():
            raise DiskRefused("a volume can be mounted by root only, and this cloud runs without")
        if volume_id not in self.mounted():
            self._mounts.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._mounts.chmod(0o700)
            place.mkdir(exist_ok=True)
            # mount(8) takes the loop device that the image may still have from a moment ago: never two for one image.
            options = "loop,nosuid,nodev,discard,errors=remount-ro"
            run("mount", "-t", "ext4", "-o", options, str(self.volume(volume_id)), str(place))
        return place

    def unmount(self, volume_id: str) -> None:
        """Unmount a volume, with all its data on the disk. Raises DiskInUse.

        Not at once: a program that another of our threads is about to start has our descriptors until it has begun.
        """
        place = self.place(volume_id)
        give_up = time.monotonic() + _PATIENCE
        while volume_id in self.mounted():
            try:
                run("umount", str(place))
            except DiskInUse:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.02)
        with suppress(FileNotFoundError):
            place.rmdir()

    def unmount_all(self) -> None:
        """At the end of the cloud: also those that a process which has just been killed may still be leaving, or has
        held for a snapshot: a file system that is held stays in the kernel for ever."""
        for volume_id in self.mounted():
            self._thaw(volume_id)
            run("umount", "--lazy", str(self.place(volume_id)))
        if self._mounts.exists():
            # Not a whole tree: under a mount that stayed it would delete the files of that mount.
            for place in self._mounts.iterdir():
                place.rmdir()
            self._mounts.rmdir()

    # While it is mounted.

    @contextmanager
    def frozen(self, volume_id: str) -> Iterator[None]:
        """Freezes the volume's file system for a copy; writers wait until the block ends."""
        here = volume_id in self.mounted()
        place = self.mount(volume_id)
        try:
            with _frozen(place):
                yield
        finally:
            if not here:
                self.unmount(volume_id)

    def copy(self, volume_id: str, snapshot_id: str) -> None:
        """A snapshot of a volume that is frozen."""
        with _appearing(self.snapshot(snapshot_id)) as file:
            clone(self.volume(volume_id), file)

    def grow(self, volume_id: str, size_gib: int) -> bool:
        """Let file and file system grow; False where the file system cannot as long as it is mounted.

        A kernel lets only CAP_SYS_RESOURCE grow a mounted ext4, which root lacks in some containers.
        """
        file = self.volume(volume_id)
        device = _loop_device(file)
        if device is None:
            # A copy: what a power cut leaves of a file system in the middle of this, no check would mend by itself.
            with _appearing(file) as grown:
                clone(file, grown)
                grow_file(grown, size_gib)
            return True
        if volume_id not in self.mounted():
            # Programs of a server that it was taken from by force still have it open.
            return False
        _truncate(file, size_gib * GIB)
        run("losetup", "--set-capacity", device)
        command = [find_program("resize2fs") or "resize2fs", device]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=own_environment())
        if done.returncode != 0 and "Permission denied" in done.stderr:
            return False
        if done.returncode != 0:
            raise DiskRefused(f"resize2fs: {done.stderr.strip()}")
        return True

    def _thaw(self, volume_id: str) -> None:
        with _opened(self.place(volume_id)) as descriptor, suppress(OSError):
            # EINVAL: it was not frozen.
            fcntl.ioctl(descriptor, _FITHAW, 0)


def grow_file(file: Path, size_gib: int) -> None:
    """A file system that is mounted nowhere."""
    _truncate(file, size_gib * GIB)
    # resize2fs wants it checked. Preen (-p) replays the journal if the file system was not unmounted cleanly.
    run("e2fsck", "-f", "-p", str(file), accepted=(0, 1))
    run("resize2fs", str(file))


def clone(source: Path, target: Path) -> None:
    """Copies a file. On xfs and btrfs the copy shares its blocks; elsewhere only used blocks are copied."""
    with source.open("rb") as reading, target.open("wb") as writing:
        try:
            fcntl.ioctl(writing.fileno(), _FICLONE, reading.fileno())
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY):
                raise DiskRefused(f"copy {source}: {error.strerror}") from error
        _trying(f"copy {source}", _copy_used, reading.fileno(), writing.fileno())


def _copy_used(source: int, target: int) -> None:
    size = os.fstat(source).st_size
    os.truncate(target, size)
    at = 0
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(source, at, os.SEEK_HOLE)
        while at < end:
            at += os.copy_file_range(source, target, min(end - at, _CHUNK), at, at)


def _loop_device(file: Path) -> str | None:
    """The loop device that an image has, as long as anybody has its file system mounted."""
    wanted = file.resolve()
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(FileNotFoundError):
            # It may be let go of at this moment.
            if Path(backing.read_text().rstrip("\n")) == wanted:
                return f"/dev/{backing.parents[1].name}"
    return None


def run(program: str, *arguments: str, accepted: tuple[int, ...] = (0,)) -> None:
    command = [find_program(program) or program, *arguments]
    try:
        begun = begin(command)
    except FileNotFoundError as error:
        raise DiskRefused(f"{program} is not installed; `skylift setup` installs what volumes need") from error
    reported = last_words(begun)
    if begun.returncode not in accepted:
        if "target is busy" in reported:
            raise DiskInUse(f"{program}: {reported}")
        kind = NoRoom if os.strerror(errno.ENOSPC) in reported else DiskRefused
        raise kind(f"{program}: {reported}")


def _format(file: Path, size_gib: int) -> None:
    _truncate(file, size_gib * GIB)
    run(*MKFS.split(), str(file))


def _truncate(file: Path, size: int) -> None:
    file.touch(mode=0o600)
    _trying(f"a file of {size >> 30} GiB at {file.parent}", os.truncate, file, size)


@contextmanager
def _appearing(final: Path) -> Iterator[Path]:
    """A name to make a file under, which then is on the disk whole and has its own name."""
    making = final.with_name(f"{_MAKING}{final.name}")
    making.unlink(missing_ok=True)
    try:
        yield making
        with making.open("rb") as file:
            os.fsync(file.fileno())
        making.chmod(0o600)
        making.rename(final)
        sync_directory(final.parent)
    except OSError as error:
        kind = NoRoom if error.errno in (errno.ENOSPC, errno.EDQUOT) else DiskRefused
        raise kind(f"{error.filename or final}: {error.strerror}") from error
    finally:
        making.unlink(missing_ok=True)


@contextmanager
def _frozen(place: Path) -> Iterator[None]:
    """Nothing is written to the file system inside, and what was written before is in its image."""
    with _opened(place) as descriptor:
        _trying(f"freeze {place.name}", fcntl.ioctl, descriptor, _FIFREEZE, 0)
        try:
            yield
        finally:
            fcntl.ioctl(descriptor, _FITHAW, 0)


@contextmanager
def _opened(place: Path) -> Iterator[int]:
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _trying(what: str, act: object, *arguments: object) -> None:
    assert callable(act)
    try:
        act(*arguments)
    except OSError as error:
        raise DiskRefused(f"{what}: {error.strerror}") from error
