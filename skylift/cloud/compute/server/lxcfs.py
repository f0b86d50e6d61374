"""Shows a server its own size in /proc and /sys: lxcfs answers there, by the cgroup of the process that reads.

The distribution's lxcfs is used where it runs. Elsewhere (no systemd, a container) each cloud runs its own lxcfs. That
goes on when the cloud ends, as the servers do, and ends when its mount is removed.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from skylift.cloud.compute.disk.mount_into import AttachError, mount_over, take_out
from skylift.cloud.compute.disk.mount_table import mounts
from skylift.cloud.compute.server.oci import LXCFS_FILES
from skylift.cloud.compute.server.rootfs import is_mounted
from skylift.cloud.state.program import find_program, own_environment
from skylift.cloud.state.rootless import rootless

log = logging.getLogger(__name__)

SHARED = Path("/var/lib/lxcfs")
"""The distribution's service mounts lxcfs here."""

FUSE = Path("/dev/fuse")
PATIENCE = 10.0
"""Seconds in which lxcfs must answer, and end."""

_MS_NOSUID, _MS_NODEV = 2, 4
_PID_1 = Path("/proc/1/personality")
_AS_PID_1 = """set -ef
copies() { grep -E '^([^ ]+ ){4}/run/skylift/| - fuse.lxcfs ' /proc/self/mountinfo | cut -d' ' -f5 | tac; }
umount --lazy "$0"
kept='^/((proc|sys|dev|etc|usr|lib[^/]*|s?bin)(/.*)?)?$'
for each in $(cut -d' ' -f5 /proc/self/mountinfo | tac | grep -vE "$kept"); do
    place=$(printf %b "$each")
    case ${0%/*}/:$1 in
        "$place"/* | *:"$place"/*) ;;
        *) umount --lazy "$place" 2>&1 || true ;;
    esac
done
for each in $(copies); do umount --lazy "$(printf %b "$each")" || true; done
if copies | grep .; then exit 1; fi
mount --bind "/proc/$$/personality" /proc/1/personality
exec "$@"
"""
"""lxcfs serves nobody if it may not read this file of pid 1, as in some VMs and under Yama's strictest scope. It checks
only that the file is readable, so in a private mount namespace it finds its own file. That namespace must not hold a
copy of any lxcfs mount, which would then never end, nor of a server's mounts: disks would stay busy after they are
unmounted. So it keeps only what the system and lxcfs itself are on. A copy goes by itself when its mount point is
removed, so only the copies left at the end count. `%b` decodes names of the kernel's table (see mount_table.py)."""


class Sizes:
    """The sizes that the servers of one cloud see. Its own lxcfs, if it needs one, is in the directory `own`."""

    def __init__(self, own: Path) -> None:
        self._own = own
        self._lock = threading.Lock()
        self._shown: dict[str, tuple[int, str]] = {}
        self._begun = ensure_lxcfs(own) is not None

    def place(self) -> Path | None:
        """The mount point of an lxcfs that answers. Starts it again if needed. None if that fails, or never worked."""
        with self._lock:
            return ensure_lxcfs(self._own) if self._begun else None

    def show(self, servers: Mapping[str, int]) -> str:
        """Mounts the running lxcfs in these servers (the first process of each, by id): files of an ended one fail.
        Returns why the servers see this machine's sizes; empty if they do not, or always did.
        """
        if not self._begun:
            return ""
        place = self.place()
        device = _device(place) if place is not None else ""
        for server_id, first in servers.items():
            if self._shown.get(server_id) != (first, device):
                try:
                    _show(first, place, device)
                except (OSError, AttachError) as error:
                    log.warning("server %s: its sizes: %s", server_id, error)
        self._shown = {server_id: (first, device) for server_id, first in servers.items()}
        return "" if place is not None else "lxcfs cannot be started again: it sees this machine's size as its own"


def _show(first: int, place: Path | None, device: str) -> None:
    there = [mount for mount in mounts(first) if str(mount.place).removeprefix("/") in LXCFS_FILES]
    take_out(first, [str(mount.place) for mount in there if mount.device != device], force=True)
    if place is None:
        return
    known = {str(mount.place) for mount in there if mount.device == device}
    for name in LXCFS_FILES:
        if f"/{name}" not in known:
            mount_over(first, place / name, f"/{name}")


def _device(place: Path) -> str:
    return next(mount.device for mount in reversed(mounts()) if mount.place == place)


def running_lxcfs(own: Path) -> Path | None:
    """The mount point of an lxcfs that answers: the distribution's, or this cloud's own in the directory `own`."""
    return next((place for place in (SHARED, own / "mount") if _answers(place)), None)


def ensure_lxcfs(own: Path) -> Path | None:
    """The same; begun where none answers. None where that cannot be: servers then see this machine's memory."""
    found = running_lxcfs(own)
    if found is not None:
        return found
    program = find_program("lxcfs")
    if program is None or not FUSE.exists() or rootless():
        return None
    stop_lxcfs(own)
    try:
        return _start(program, own)
    except OSError as error:
        log.warning("servers see this machine's memory, since lxcfs cannot be started: %s", error)
        return None


def stop_lxcfs(own: Path) -> None:
    """Take this cloud's own away, if there is one; no server may be left that looks through it."""
    mount = own / "mount"
    with ExitStack() as stack:
        process = _process(own)
        if process is not None:
            stack.callback(os.close, process)
        while is_mounted(mount):
            # Lazily: a process that still reads from it is about to end.
            subprocess.run(["umount", "--lazy", str(mount)], check=True, capture_output=True, env=own_environment())
        if process is not None and not select.select([process], [], [], PATIENCE)[0]:
            # It is stopped, or servers still look through it: all that do fail from here on, and do not wait.
            signal.pidfd_send_signal(process, signal.SIGKILL)
    shutil.rmtree(own, ignore_errors=True)


def _process(own: Path) -> int | None:
    """A descriptor of the process that serves it; None where it has ended."""
    try:
        pid = int((own / "pid").read_text())
        descriptor = os.pidfd_open(pid)
        # The check comes after the descriptor is open: the process with this number is then the one it refers to.
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    if os.fsencode(own / "pid") in words:
        return descriptor
    os.close(descriptor)
    return None


def _answers(place: Path) -> bool:
    """Reading from a hung lxcfs never returns, so a daemon thread reads."""
    answered = threading.Event()

    def read() -> None:
        with suppress(OSError):
            if (place / "proc" / "meminfo").read_bytes():
                answered.set()

    if is_mounted(place):
        reader = threading.Thread(target=read, name="lxcfs", daemon=True)
        reader.start()
        reader.join(PATIENCE)
    return answered.is_set()


def _start(program: str, own: Path) -> Path:
    mount, runtime = own / "mount", own / "run"
    for directory in (own, mount, runtime):
        directory.mkdir(mode=0o755, parents=True)
    device = os.open(FUSE, os.O_RDWR)
    try:
        # We mount it, so that the mount exists on return: a reader waits until lxcfs has begun to answer.
        _mount_fuse(device, mount)
        command = [program, "--pidfile", str(own / "pid"), "--runtime-dir", str(runtime), f"/dev/fd/{device}"]
        if not _may_read_pid_1():
            command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _AS_PID_1, str(mount), *command]
        with (own / "log").open("wb") as lines:
            subprocess.Popen(  # it outlives us
                command,
                env=own_environment(),
                stdin=subprocess.DEVNULL,
                stdout=lines,
                stderr=subprocess.STDOUT,
                pass_fds=[device],
                start_new_session=True,
            )
    finally:
        os.close(device)
    if _answers(mount):
        return mount
    words = (own / "log").read_text(errors="replace").strip().splitlines()
    stop_lxcfs(own)
    raise OSError(errno.EIO, words[-1] if words else "it ended at once")


def _mount_fuse(device: int, mount: Path) -> None:
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    library = ctypes.CDLL(None, use_errno=True)
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV)
    if library.mount(b"lxcfs", str(mount).encode(), b"fuse.lxcfs", flags, options) != 0:
        raise OSError(ctypes.get_errno(), f"mounting at {mount}: {os.strerror(ctypes.get_errno())}")


def _may_read_pid_1() -> bool:
    try:
        _PID_1.read_bytes()
    except PermissionError:
        return False
    return True
