"""Loopback ranges: each cloud on a machine takes one number N, and with it 127.N.0.0/16.

A taken range is a file in /run. It ends with the machine's boot, as do the addresses and links that it reserves. It
outlives the cloud's process, because servers do.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from skylift.cloud.compute.network.error import KernelRefused, NoRangeFree
from skylift.cloud.state.rootless import STORED, UIDS, rootless

DIRECTORY = Path("/run/skylift/claims")
NUMBERS = range(32, 224)
PASTA_UIDS = "2000000000-2000000255"
"""pasta runs as one of these host uids. No server's range may contain one."""


@dataclass(frozen=True)
class LoopbackRange:
    """One cloud's share of this machine."""

    number: int
    home: str
    owner: int

    @property
    def addresses(self) -> IPv4Network:
        """Public addresses of this cloud, all of them the host's own; the first host address is the host's."""
        return IPv4Network(f"127.{self.number}.0.0/16")

    @property
    def host_address(self) -> IPv4Address:
        """The address that servers see when the host talks to them."""
        return self.addresses[1]

    @property
    def carrier(self) -> IPv4Network:
        """Public addresses as packets carry them between the host and the uplink: class E, which has no other use."""
        return IPv4Network(f"240.{self.number}.0.0/16")

    @property
    def host_link(self) -> str:
        """The host's end of the transit link; also a mark that the number is taken."""
        return f"sky{self.number}"

    @property
    def table(self) -> str:
        """The host's nft table of this cloud."""
        return f"skylift_{self.number}"

    @property
    def prefix(self) -> str:
        """The prefix of the names of all its network namespaces."""
        return f"skylift-{self.number}-"

    @property
    def pasta_uid(self) -> int:
        """The host uid and gid that only this cloud's pasta runs as. Without root it is the last uid of the range: no
        program in a server has it."""
        return STORED + UIDS - 1 if rootless() else 2_000_000_000 + self.number


class LoopbackRanges:
    """The ranges of a machine. `taken` answers whether the kernel has something of the cloud with a number."""

    def __init__(self, taken: Callable[[int], bool], directory: Path = DIRECTORY) -> None:
        self._taken = taken
        self._directory = directory

    def take(self, home: Path, preferred: int | None = None) -> LoopbackRange:
        """The range of this home: the one it has, else a new one, of `preferred` if that is free.

        Raises NoRangeFree, KernelRefused.
        """
        with self._locked():
            present = self._read()
            mine = next((loopback for loopback in present if loopback.home == _canonical(home)), None)
            number = mine.number if mine else self._free(present, _canonical(home), preferred)
            loopback = LoopbackRange(number, _canonical(home), os.getpid())
            self._write(loopback)
            return loopback

    def find(self, home: Path) -> LoopbackRange | None:
        """The range of this home, whether its cloud runs or not. Raises KernelRefused."""
        return next((loopback for loopback in self.all() if loopback.home == _canonical(home)), None)

    def all(self) -> list[LoopbackRange]:
        """Raises KernelRefused where an earlier version made some root's alone, as a strict umask has it."""
        try:
            return self._read() if self._directory.is_dir() else []
        except PermissionError as error:
            raise KernelRefused(f"{error.filename} can be read by root only: {error.strerror}") from error

    def in_use(self, loopback: LoopbackRange) -> bool:
        """Whether the kernel has anything of its cloud, which then runs, or has servers that do."""
        return self._taken(loopback.number)

    def release(self, loopback: LoopbackRange) -> None:
        """Give the number back; everything that stood for it is gone."""
        with self._locked():
            (self._directory / str(loopback.number)).unlink(missing_ok=True)

    def _free(self, present: list[LoopbackRange], home: str, preferred: int | None) -> int:
        """Each home begins to look somewhere else, so that none is likely to take what another one, which is down at
        the moment, will come back for."""
        used = {loopback.number for loopback in present}
        first = zlib.crc32(home.encode()) % len(NUMBERS)
        inquired: list[int] = [*NUMBERS[first:], *NUMBERS[:first]]
        for number in sorted(inquired, key=lambda each: each != preferred):
            if number not in used and not self._taken(number):
                return number
        homes = ", ".join(sorted(loopback.home for loopback in present)[:5])
        raise NoRangeFree(
            f"all {len(NUMBERS)} address ranges of this machine are taken, by the clouds of {homes} and others;"
            " end one of them with `SKYLIFT_HOME=DIRECTORY skylift cloud down`"
        )

    def _read(self) -> list[LoopbackRange]:
        found = []
        for path in self._directory.iterdir():
            # One may be released while another process, which needs no lock to look, is reading.
            with suppress(FileNotFoundError):
                if path.name.isdigit():
                    content = json.loads(path.read_text())
                    found.append(LoopbackRange(int(path.name), content["home"], content["owner"]))
        return sorted(found, key=lambda loopback: loopback.number)

    def _write(self, loopback: LoopbackRange) -> None:
        """Replaced by a rename: a kill leaves the old content or the new."""
        temporary = self._directory / f".{loopback.number}.new"
        temporary.write_text(json.dumps({"home": loopback.home, "owner": loopback.owner}))
        temporary.rename(self._directory / str(loopback.number))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock. With the last range the lock's file and the directory go, too."""
        try:
            descriptor = self._lock()
        except PermissionError as error:
            raise KernelRefused(f"{self._directory}: {error.strerror}; only root can take an address range") from error
        try:
            yield
            if not self._read():
                (self._directory / ".lock").unlink()
                with suppress(OSError):
                    # A kill may have left half a file behind. What we did not make stays.
                    self._directory.rmdir()
        finally:
            os.close(descriptor)

    def _lock(self) -> int:
        """A descriptor of the lock, held. The file is opened again if its previous holder removed it in between."""
        while True:
            self._directory.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(
                    self._directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
                )
            except FileNotFoundError:
                continue
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                current = (self._directory / ".lock").stat()
            except FileNotFoundError:
                current = None
            if current is not None and os.path.samestat(current, os.fstat(descriptor)):
                return descriptor
            os.close(descriptor)


def _canonical(home: Path) -> str:
    return str(home.resolve())
