"""A disk of its own for a cloud's state, to fill it up or to cut its power."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skylift.cloud.state.home import Home
from skylift.cloud.wiring.teardown import leave_machine
from support.real_cloud import UP, RealCloud
from support.real_server import until

MIB = 1 << 20
_SHUTDOWN, _WITHOUT_LOG = 0x8004587D, 2
"""EXT4_IOC_SHUTDOWN and its NOLOGFLUSH."""


class LoopDisk:
    """An ext4 in a file, to be mounted at `place`. It guesses nothing: what is not synced is not written for minutes,
    also when it replaces another file."""

    def __init__(self, base: Path, mib: int) -> None:
        self.place = base / "nowhere"
        self.dead = False
        self.backing = base / "disk"
        with self.backing.open("wb") as file:
            file.truncate(mib * MIB)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", self.backing], check=True)

    def mount(self) -> None:
        options = "loop,noauto_da_alloc,commit=300"
        subprocess.run(["mount", "-o", options, self.backing, self.place], check=True)
        self.dead = False

    def unmount(self) -> None:
        """Once nobody uses it any more: what was just killed takes its time."""
        until(self._unmounted, f"{self.place} to be left alone")

    def _unmounted(self) -> bool:
        return subprocess.run(["umount", self.place], check=False, capture_output=True).returncode == 0

    def cut(self) -> None:
        """From now on nothing is written to it, not even what is in memory for it."""
        self.dead = True
        descriptor = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _WITHOUT_LOG))
        finally:
            os.close(descriptor)

    def power_on(self, home: Home) -> None:
        """What a machine does after a power cut: of the cloud in this state directory, whose process has ended, nothing
        is left but what was on the disk, the file system's log is replayed, and the boot has another id."""
        leave_machine(home, grace=0)
        self.unmount()
        # The kernel keeps the dead file system as long as anything is under way in it: what is mounted is a copy.
        copy = self.backing.with_suffix(".copy")
        subprocess.run(["cp", "--sparse=always", self.backing, copy], check=True)
        copy.rename(self.backing)
        self.mount()
        # This machine's own id is the same as before: the cloud is to find that of another boot.
        home.data.boot.write_text(f"{uuid.uuid4()}\n")


@contextmanager
def disk(mib: int) -> Iterator[LoopDisk]:
    """One with nothing kept for root."""
    with tempfile.TemporaryDirectory(prefix="sky-") as base:
        yield LoopDisk(Path(base), mib)


@contextmanager
def cloud_on(disk: LoopDisk, image_home: Home) -> Iterator[RealCloud]:
    """A cloud that is up, with root's data there, and its user's files elsewhere; at the end nothing is left of it on
    the machine."""
    base = disk.backing.with_name("cloud")
    base.mkdir()
    cloud = RealCloud(base, image_home)
    disk.place = cloud.home.data.path
    disk.place.mkdir(mode=0o711, parents=True)
    disk.mount()
    cloud.guard()
    try:
        cloud.up()
        UP.append(cloud)
        yield cloud
    finally:
        UP[:] = [each for each in UP if each is not cloud]
        if disk.dead:
            disk.power_on(cloud.home)
        cloud.put_away()
        disk.unmount()
        cloud.erase()
