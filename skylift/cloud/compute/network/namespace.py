"""Network namespaces that live in /run/netns, where `ip netns` sees them too."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from skylift.cloud.compute.network.error import (
    KernelRefused,
    NamespaceError,
    ProgramMissing,
    RulesetRefused,
    ServerGone,
    SysctlRefused,
)
from skylift.cloud.compute.network.netlink import NAMESPACES, Netlink
from skylift.cloud.compute.own_thread import in_own_thread
from skylift.cloud.state.program import find_program, own_environment

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SHARED = 1 << 20
MNT_DETACH = 2

_LIBC = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """An open network namespace and a netlink socket in it, both open as long as the object lives."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self.netlink = self.run(Netlink)
        self._rules: str | None = None
        """The rules at the first look since they were last loaded; None before that."""

    @classmethod
    def open(cls, name: str) -> Namespace:
        """A namespace that exists in /run/netns."""
        try:
            return cls(name, os.open(Path(NAMESPACES, name), os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            raise NamespaceError(f"network namespace {name}: {error.strerror}") from error

    @classmethod
    def of_process(cls, pid: int) -> Namespace:
        """The unnamed namespace of a process."""
        try:
            return cls(f"of process {pid}", os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        except (FileNotFoundError, ProcessLookupError) as error:
            raise ServerGone(f"process {pid} has ended; its server must be started again") from error
        except PermissionError as error:
            raise KernelRefused(
                f"network namespace of process {pid}: {error.strerror}; the cloud needs root"
            ) from error

    def close(self) -> None:
        self.netlink.close()
        os.close(self.descriptor)

    def run(self, action: Callable[[], T]) -> T:
        """The result of `action`, called by a thread inside the namespace; the thread is then discarded.

        Sockets opened and processes started there belong to the namespace for good.
        """

        def inside() -> T:
            if _LIBC.setns(self.descriptor, CLONE_NEWNET) != 0:
                raise NamespaceError(f"network namespace {self.name}: {os.strerror(ctypes.get_errno())}")
            return action()

        return in_own_thread(inside)

    def listen(self, address: str, port: int, kind: socket.SocketKind) -> socket.socket:
        """A bound socket inside; a stream listens."""

        def bind() -> socket.socket:
            opened = socket.socket(socket.AF_INET, kind)
            try:
                opened.setblocking(False)
                if kind == socket.SOCK_STREAM:
                    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                opened.bind((address, port))
                if kind == socket.SOCK_STREAM:
                    opened.listen(256)
            except OSError:
                opened.close()
                raise
            return opened

        return self.run(bind)

    def write_settings(self, settings: Mapping[str, str]) -> None:
        """Write /proc/sys/net/KEY of this namespace; a key the kernel was built without is left out."""

        def write() -> None:
            for key, value in settings.items():
                write_setting(key, value)

        self.run(write)

    def load(self, ruleset: str) -> None:
        """Have nft load a ruleset, whole or not at all."""
        self._rules = None
        self.run(lambda: load_ruleset(ruleset, self.name))

    def keeps(self, link: str) -> bool:
        """Whether this link is there and up, and the rules are what they were at the first look since they were loaded.
        What is in sets is not looked at. The namespace is named again where it has lost its name."""
        self._keep_name()
        found = self.run(lambda: listed_rules("ruleset"))
        self._rules = found if self._rules is None else self._rules
        return self.netlink.is_up(link) and found == self._rules != ""

    def _keep_name(self) -> None:
        """It lives on for as long as it is open here."""
        place = Path(NAMESPACES, self.name)
        with suppress(FileNotFoundError):
            if place.stat().st_ino == os.fstat(self.descriptor).st_ino:
                return
        remove_namespace(self.name)
        _bind(self.name, f"/proc/self/fd/{self.descriptor}")


def write_setting(key: str, value: str) -> None:
    """One setting below /proc/sys/net in the namespace of the calling thread, if the kernel knows it."""
    path = Path("/proc/sys/net", key)
    try:
        path.write_text(value)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SysctlRefused(f"{path} = {value}: {error.strerror}; is /proc/sys mounted read-only?") from error


def load_ruleset(ruleset: str, place: str) -> None:
    """Load an nft script in the namespace of the calling thread."""
    nft = find_program("nft")
    if nft is None:
        raise ProgramMissing("nft", "nftables")
    done = subprocess.run(
        [nft, "-f", "-"], input=ruleset.encode(), capture_output=True, check=False, env=own_environment()
    )
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip()
        raise RulesetRefused(f"nft in {place}: {words}; does this kernel have nf_tables with conntrack and NAT?")


def listed_rules(*what: str) -> str:
    """What nft lists (`ruleset`, or `table FAMILY NAME`) in the namespace of the calling thread, without the contents
    of sets and counters; empty where there is nothing of the kind."""
    nft = find_program("nft")
    if nft is None:
        raise ProgramMissing("nft", "nftables")
    command = [nft, "--stateless", "--terse", "list", *what]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=own_environment()).stdout


def create_namespace(name: str) -> None:
    """A new network namespace, empty, under this name."""

    def create() -> None:
        if _LIBC.unshare(CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise KernelRefused(f"create a network namespace: {os.strerror(code)}; the cloud needs root")
        name_thread(name, "thread-self")

    in_own_thread(create)


def name_thread(name: str, process: str) -> None:
    """Bind the network namespace of /proc/PROCESS to a name in /run/netns, as `ip netns add` does."""
    _bind(name, f"/proc/{process}/ns/net")


def _bind(name: str, source: str) -> None:
    place = Path(NAMESPACES, name)
    try:
        _share_names()
        place.touch(mode=0o000, exist_ok=False)
        try:
            _mount(source, str(place), MS_BIND)
        except OSError:
            place.unlink()
            raise
    except OSError as error:
        raise NamespaceError(f"{place}: {error.strerror}") from error


def remove_namespace(name: str) -> None:
    """The namespace ends once its last process and socket has."""
    place = Path(NAMESPACES, name)
    # A kill may have left a file with nothing mounted on it.
    _LIBC.umount2(bytes(place), MNT_DETACH)
    try:
        place.unlink(missing_ok=True)
    except OSError as error:
        raise NamespaceError(f"remove {place}: {error.strerror}") from error


def namespaces(prefix: str) -> list[str]:
    """Names in /run/netns; what a kill left there half made is removed on the way."""
    directory = Path(NAMESPACES)
    if not directory.is_dir():
        return []
    kind = Path("/proc/self/ns/net").stat().st_dev
    found = []
    for path in sorted(directory.glob(f"{prefix}*")):
        if path.stat().st_dev == kind:
            found.append(path.name)
        else:
            path.unlink()
    return found


def _share_names() -> None:
    """Names are mounts: those made in one mount namespace are to be seen, and to end, in all that have come from it."""
    directory = Path(NAMESPACES)
    directory.mkdir(exist_ok=True)
    try:
        _mount("", str(directory), MS_SHARED | MS_REC)
    except OSError:
        # It is not a mount yet.
        _mount(str(directory), str(directory), MS_BIND | MS_REC)
        _mount("", str(directory), MS_SHARED | MS_REC)


def _mount(source: str, target: str, flags: int) -> None:
    if _LIBC.mount(source.encode(), target.encode(), b"none", ctypes.c_ulong(flags), None) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)
