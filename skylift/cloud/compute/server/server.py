"""Servers as processes: made by an OCI runtime under conmon, watched by pidfd, found again after a restart.

ServerError
+-- RuntimeMissing   no OCI runtime or conmon on this machine
+-- RuntimeRefused   the runtime would not create, start or remove a server; carries its own words
"""

from __future__ import annotations

import json
import logging
import os
import select
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from skylift.cloud.compute.disk.mount_into import mount_over, uncover
from skylift.cloud.compute.disk.removal import is_aside, set_aside
from skylift.cloud.compute.error import ComputeError
from skylift.cloud.compute.server import cgroup, dmi, freezer
from skylift.cloud.compute.server.oci import CAPABILITIES, UIDS, ServerPlan, oci_config, with_limits
from skylift.cloud.compute.server.owner_map import own_users
from skylift.cloud.compute.server.release_init import release_init
from skylift.cloud.compute.server.rootfs import Rootfs, RootfsError, SeedFile, not_made
from skylift.cloud.compute.server.seccomp import oci_seccomp, read_profile
from skylift.cloud.domain.instance import Console
from skylift.cloud.state.durable import sync_directory
from skylift.cloud.state.program import find_program, own_environment
from skylift.cloud.state.rootless import rootless

log = logging.getLogger(__name__)

CONSOLE_LIMIT = 1 << 20

Status = Literal["created", "running", "paused"]
"""The states that the runtime reports of an existing server."""

BOOT_ID = "/proc/sys/kernel/random/boot_id"

ASK_AGAIN = 1.0
"""Seconds until a server is asked again to shut down: an init that has just started misses the first request."""

# What reboot(2) in a pid namespace does to its init tells the host which one was asked for (pid_namespaces(7)).
EXIT_REBOOT = 128 + 1
EXIT_POWEROFF = 128 + 2


class ServerError(ComputeError):
    """A server could not be made, started or removed."""


class RuntimeMissing(ServerError):
    """A program that servers need is not installed."""


class RuntimeRefused(ServerError):
    """The OCI runtime failed."""


@dataclass(frozen=True)
class Programs:
    """Absolute paths of what servers are made with."""

    runtime: str
    conmon: str


def find_programs() -> Programs:
    """runc before crun: crun refuses hosts with both cgroup versions, runc takes every kind."""
    runtime = find_program("runc") or find_program("crun")
    conmon = find_program("conmon")
    if runtime is None or conmon is None:
        missing = "an OCI runtime (runc or crun)" if runtime is None else "conmon"
        raise RuntimeMissing(f"{missing} is not installed; `skylift setup` installs what servers need")
    return Programs(runtime, conmon)


HostKeys = Callable[[str, str], Iterable[SeedFile]]
"""Makes the files with the SSH host keys of a new server, from its id and its name."""


def no_host_keys(server_id: str, hostname: str) -> Iterable[SeedFile]:
    """The server makes its own."""
    return ()


class Servers:
    """All servers of one cloud.

    `run` is the cloud's directory under /run, `disks` the directory of what outlives a boot, `group` the cgroup that
    holds them all. `on_exit(id, code)` is called from the watching thread once a server has ended; `code` is None
    when conmon died before it could tell.
    """

    def __init__(
        self,
        run: Path,
        disks: Path,
        group: str,
        programs: Programs,
        on_exit: Callable[[str, int | None], None],
        host_keys: HostKeys = no_host_keys,
    ) -> None:
        self._run = run
        self._disks = disks
        self._group = group
        self._programs = programs
        self._on_exit = on_exit
        self._host_keys = host_keys
        self._watch = _Watch(self._ended)
        self._seccomp = oci_seccomp(read_profile(), CAPABILITIES)
        # A server's root passes through the first two, and finds nothing of other servers on its way.
        for directory, mode in ((run.parent, 0o711), (run, 0o711), (self._exits, 0o700), (self._state, 0o700)):
            directory.mkdir(exist_ok=True)
            directory.chmod(mode)
        self._firmware_layer = dmi.make_layer(run / "firmware")

    @property
    def _exits(self) -> Path:
        return self._run / "exits"

    @property
    def _state(self) -> Path:
        return self._run / "oci"

    def create(self, plan: ServerPlan, seed: Iterable[SeedFile]) -> int:
        """Mount the root, seed it as far as its disk needs it, and create the server. Returns the pid of its init.

        The init waits to be started, so that its network can be attached first.
        """
        bundle, files = self._bundle(plan.id), list(seed)
        with ExitStack() as made:
            try:
                users = made.enter_context(own_users(plan.uid_base, UIDS))
                first = self._furnish(plan, files, bundle, users)
            except OSError as error:
                raise not_made(error) from error
            if first:
                made.enter_context(self._seeded_beside(plan, files))
            pid = self._conmon(plan, bundle)
        cgroup.bound_sockets(self._cgroup(plan.id), plan.memory // 8)
        self._give_boot_id(bundle, pid, plan.uid_base)
        if plan.firmware and self._firmware_layer is not None:
            uncover(pid, "/sys", dmi.LIVE, spare=str(dmi.FIRMWARE))
        self._rootfs(plan).close()
        (bundle / "pid").write_text(str(pid))
        self._watch.add(plan.id, self._conmon_pid(plan.id) or pid)
        return pid

    def _give_boot_id(self, bundle: Path, pid: int, owner: int) -> None:
        """Each boot gets a new id, as on a machine: programs that wait for a restart wait for a change of this id.

        The runtime mounts nothing below /proc/sys, and the server's own root cannot mount.
        """
        file = bundle / "boot_id"
        _write_private(file, f"{uuid.uuid4()}\n")
        os.chown(file, owner, owner)
        file.chmod(0o444)
        mount_over(pid, file, BOOT_ID)

    @contextmanager
    def _seeded_beside(self, plan: ServerPlan, seed: Sequence[SeedFile]) -> Iterator[None]:
        """Writes a new disk's seed and has it kept through a power cut, beside the block: the runtime looks at none of
        it, and the server is not started before. Only then it is noted, so that what was cut off is written again."""

        def write() -> None:
            rootfs = self._rootfs(plan)
            rootfs.write(seed)
            # cloud-init makes an image's own keys or leaves them, as it is told.
            given = () if rootfs.can_run("/usr/bin/cloud-init") else self._host_keys(plan.id, plan.hostname)
            keys = tuple(given)
            try:
                rootfs.write(keys)
            except RootfsError as error:
                # In an image of somebody's own there may be anything in their place. Init tries next, and says why.
                log.warning("server %s: its SSH host keys: %s", plan.id, error)
                keys = ()
            rootfs.sync([*seed, *keys])
            try:
                _seeded(plan).touch()
                for directory in (plan.disk, plan.disk.parent):
                    sync_directory(directory)
            except OSError as error:
                raise not_made(error) from error

        with ThreadPoolExecutor(1, thread_name_prefix="seed") as beside:
            written = beside.submit(write)
            yield
            written.result()

    def _furnish(self, plan: ServerPlan, seed: Sequence[SeedFile], bundle: Path, users: Callable[[], str]) -> bool:
        """Makes what the runtime needs: the bundle and the root. Returns whether the root is a new one, without its
        seed."""
        bundle.mkdir(mode=0o700, exist_ok=True)
        _open_to_its_root(bundle, plan.uid_base)
        rootfs = self._rootfs(plan)
        # This comes first: after a kill in the middle, the clean-up sees by it that there may be mounts.
        _write_private(bundle / ".base", json.dumps({"image": str(plan.image), "uid_base": plan.uid_base}))
        (bundle / ".base").rename(bundle / "base")
        plan.disk.mkdir(exist_ok=True)
        plan.disk.chmod(0o700)
        rootfs.mount()
        first = not _seeded(plan).exists()
        if not first:
            rootfs.write(file for file in seed if file.each_boot)
        (self._exits / plan.id).unlink(missing_ok=True)
        cgroup.make(self._group, plan.tasks)
        firmware = None
        if plan.firmware:
            firmware = bundle / "firmware"
            dmi.write_words(firmware, plan.firmware, plan.uid_base)
        # A name that is written there counts from the next boot on; the server's root may not set it at once.
        hostname = _first_hostname(seed) if first else rootfs.hostname()
        named = replace(plan, hostname=hostname or plan.hostname)
        config = oci_config(
            named,
            rootfs.root,
            f"/{self._cgroup(plan.id)}",
            self._seccomp,
            firmware,
            self._firmware_layer,
            # Without root the runtime mistakes the ids of an existing namespace.
            None if rootless() else users(),
        )
        _write_private(bundle / "config.json", json.dumps(config))
        return first

    def start(self, server_id: str) -> None:
        if not release_init(self._state / server_id, self._bundle(server_id) / "pid"):
            self._runtime("start", server_id)

    def running(self) -> dict[str, int]:
        """Pids of the inits of servers that run now, by id, as the runtime and the kernel see it."""
        return {entry["id"]: entry["pid"] for entry in self._listed() if entry["status"] in get_args(Status)}

    def statuses(self) -> dict[str, Status]:
        """The same servers, and what they are: `created` are those that were made and have not been started."""
        return {entry["id"]: entry["status"] for entry in self._listed() if entry["status"] in get_args(Status)}

    def _listed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] | None = json.loads(self._runtime("list", "--format", "json"))
        return found or []

    def known(self) -> set[str]:
        """Every server with anything left under /run."""
        return {path.name for path in self._run.iterdir() if (path / "base").exists()}

    def with_disks(self) -> set[str]:
        """Every server that has a disk."""
        return {path.name for path in self._disks.iterdir() if not is_aside(path)}

    def adopt(self, server_id: str) -> None:
        """Watches a server that an earlier cloud process started, and closes what that process left open."""
        self._close(server_id)
        watched = self._conmon_pid(server_id) or self.running().get(server_id)
        if watched is None or not self._watch.add(server_id, watched):
            self._ended(server_id)

    def _close(self, server_id: str) -> None:
        """Close the directory as `create` leaves it. Its process may have been killed before that, or be of an earlier
        version."""
        bundle = self._bundle(server_id)
        rootfs = self._rootfs_of(server_id)
        _open_to_its_root(bundle, rootfs.uid_base)
        (bundle / "config.json").chmod(0o600)
        rootfs.close()
        cgroup.make(self._group, cgroup.tasks())

    def exit_code(self, server_id: str) -> int | None:
        """The exit code of the server's init; None when its end was not observed."""
        try:
            return int((self._exits / server_id).read_text())
        except (FileNotFoundError, ValueError):
            return None

    def has_ended(self, server_id: str) -> bool:
        """Whether a server has surely ended, or been taken off the host: known without asking the runtime."""
        return (self._exits / server_id).exists() or not (self._bundle(server_id) / "init.pid").exists()

    def ended_at(self, server_id: str) -> datetime | None:
        """The time when the server's init ended; None if its end was not observed."""
        try:
            return datetime.fromtimestamp((self._exits / server_id).stat().st_mtime, UTC)
        except FileNotFoundError:
            return None

    def request_shutdown(self, server_id: str) -> None:
        """The power button of the server: its init shuts the system down and powers off."""
        self._runtime("kill", server_id, "PWR")

    def kill(self, server_id: str) -> None:
        """Pull the plug: every process of the server ends at once, the kernel sees to it."""
        self._runtime("kill", server_id, "KILL")

    def pause(self, server_id: str) -> None:
        """Hold every process of the server where it is, until `resume`."""
        freezer.freeze(self._cgroup(server_id))

    def resume(self, server_id: str) -> None:
        """Lets a held server go on. Does nothing if the server is not held."""
        freezer.thaw(self._cgroup(server_id))

    def begin(self, server_id: str, program: Sequence[str]) -> subprocess.Popen[bytes]:
        """Begin a program in a server as its root, with pipes for its input and output."""
        asked = ["--root", str(self._state), "exec", "--cwd", "/", server_id, *program]
        command = [*with_limits(), self._programs.runtime, *asked]
        try:
            return subprocess.Popen(
                command,
                env=own_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise RuntimeRefused(f"{self._programs.runtime}: {error}") from error

    def runs(self, server_id: str) -> bool:
        """Whether the server is on, as the runtime sees it."""
        return server_id in self.running()

    def clear(self, server_id: str) -> None:
        """Take a server that has ended off the host; its disk stays."""
        self._watch.forget(server_id)
        bundle = self._bundle(server_id)
        if (self._state / server_id).exists():
            self._runtime("delete", "--force", server_id)
        if (bundle / "base").exists():
            self._rootfs_of(server_id).unmount()
        _remove_tree(bundle)
        (self._exits / server_id).unlink(missing_ok=True)

    def destroy(self, server_id: str) -> None:
        """Take a server off the host, and set its disk aside: to delete it may take long, or fail."""
        self.clear(server_id)
        try:
            set_aside(self._disks / server_id)
        except FileNotFoundError:
            pass
        except OSError as error:
            log.error("server %s: its disk stays until the next start: %s", server_id, error)

    def console(self, server_id: str) -> Console | None:
        """The server's output on its console, at most the newest 64 KiB as on EC2; None without a server."""
        file = self._disks / server_id / "console.log"
        try:
            raw, changed = file.read_bytes(), file.stat().st_mtime
        except FileNotFoundError:
            return None
        text = _plain_console(raw.decode(errors="replace"))[-65536:]
        return Console(server_id, text, datetime.fromtimestamp(changed, UTC))

    def close(self) -> None:
        """Stop watching; servers go on."""
        self._watch.close()

    def remove_all(self, grace: float) -> None:
        """End and clear every server of this cloud, also those that only the kernel still knows."""
        self.shut_down(grace)
        for server_id in self.known():
            self.clear(server_id)
        cgroup.remove(self._group)

    def shut_down(self, grace: float) -> None:
        """Those that run have `grace` seconds to shut down before their plug is pulled."""
        deadline = time.monotonic() + grace
        while (alive := self.running()) and (left := deadline - time.monotonic()) > 0:
            for server_id in alive:
                self._unless_ended(server_id, self.request_shutdown)
            _wait_for_ends(alive.values(), min(ASK_AGAIN, left))
        for server_id in alive:
            self._unless_ended(server_id, self.kill)

    def _unless_ended(self, server_id: str, act: Callable[[str], None]) -> None:
        """It may end between the look and the act."""
        try:
            act(server_id)
        except RuntimeRefused:
            if server_id in self.running():
                raise

    def remove_directory(self) -> None:
        """The last step of an end; what others have mounted below it must be gone."""
        shutil.rmtree(self._run)

    def _bundle(self, server_id: str) -> Path:
        return self._run / server_id

    def _cgroup(self, server_id: str) -> str:
        return f"{self._group}/{server_id}"

    def _rootfs(self, plan: ServerPlan) -> Rootfs:
        return Rootfs(plan.image, plan.volume or plan.disk, self._bundle(plan.id), plan.uid_base)

    def _rootfs_of(self, server_id: str) -> Rootfs:
        base = json.loads((self._bundle(server_id) / "base").read_text())
        return Rootfs(Path(base["image"]), self._disks / server_id, self._bundle(server_id), base["uid_base"])

    def _conmon(self, plan: ServerPlan, bundle: Path) -> int:
        reading, writing = os.pipe()
        command = [
            *with_limits(),
            self._programs.conmon,
            *("--api-version", "1"),
            *("--cid", plan.id),
            *("--cuuid", plan.id),
            *("--runtime", self._programs.runtime),
            *("--bundle", str(bundle)),
            *("--container-pidfile", str(bundle / "init.pid")),
            *("--conmon-pidfile", str(bundle / "conmon.pid")),
            *("--log-path", f"k8s-file:{plan.disk / 'console.log'}"),
            *("--log-size-max", str(CONSOLE_LIMIT)),
            *("--exit-dir", str(self._exits)),
            # Without it conmon wants a directory of CRI-O's for its attach socket.
            "--full-attach",
            *("--runtime-arg", "--root", "--runtime-arg", str(self._state)),
        ]
        with os.fdopen(reading, "rb") as pipe:
            try:
                process = subprocess.Popen(
                    command,
                    pass_fds=[writing],
                    env=own_environment(_OCI_SYNCPIPE=str(writing)),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError as error:
                raise RuntimeRefused(f"{self._programs.conmon}: {error}") from error
            finally:
                os.close(writing)
            with process:
                answer = pipe.readline()
        report = json.loads(answer or b'{"data": -1, "message": "conmon ended without a word"}')
        if report["data"] <= 0:
            raise RuntimeRefused(f"{self._programs.runtime} create {plan.id}: {report.get('message', '').strip()}")
        return int(report["data"])

    def _conmon_pid(self, server_id: str) -> int | None:
        """The pid of the server's conmon, if that process is still the one that wrote the file."""
        try:
            pid = int((self._bundle(server_id) / "conmon.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        return pid if server_id.encode() in command else None

    def _ended(self, server_id: str) -> None:
        try:
            code = self.exit_code(server_id)
        except OSError as error:
            # It has ended all the same, and that is reported once.
            log.error("server %s: how it ended cannot be read: %s", server_id, error)
            code = None
        self._on_exit(server_id, code)

    def _runtime(self, *arguments: str) -> str:
        command = [self._programs.runtime, "--root", str(self._state), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=own_environment()
        )
        if done.returncode != 0:
            raise RuntimeRefused(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout


def _seeded(plan: ServerPlan) -> Path:
    """The note that a disk has its seed."""
    return plan.disk / "seeded"


def _first_hostname(seed: Iterable[SeedFile]) -> str | None:
    """The name that a new server's /etc/hostname will have."""
    return next((file.content.decode().strip() for file in seed if file.path == "/etc/hostname"), None)


def _open_to_its_root(bundle: Path, uid_base: int) -> None:
    """The runtime mounts the root as the server's root user, which must reach it by its path; no other user can."""
    os.chown(bundle, 0, uid_base)
    bundle.chmod(0o710)


def _remove_tree(directory: Path) -> None:
    """Tries again if a file vanished during the removal: conmon removes its socket as it ends."""
    while directory.exists():
        with suppress(FileNotFoundError):
            shutil.rmtree(directory)


def _write_private(file: Path, text: str) -> None:
    """For root alone, from the first moment."""
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)


def _wait_for_ends(pids: Iterable[int], seconds: float) -> None:
    """Returns when all of these processes have ended, or after `seconds`."""
    deadline = time.monotonic() + seconds
    for pid in pids:
        with suppress(ProcessLookupError), os.fdopen(os.pidfd_open(pid), "rb", 0) as process:
            poll = select.poll()
            poll.register(process, select.POLLIN)
            poll.poll(max(0.0, deadline - time.monotonic()) * 1000)


def _plain_console(log_text: str) -> str:
    """conmon's log format is `TIME STREAM F|P TEXT`; P marks a part of a line that goes on."""
    lines = (line.split(" ", 3) for line in log_text.splitlines())
    return "".join(fields[3] + "\n" * (fields[2] == "F") for fields in lines if len(fields) == 4)


class _Watch:
    """One thread that waits for processes to end, by pidfd, so that reused pids do not matter and nothing is polled."""

    def __init__(self, ended: Callable[[str], None]) -> None:
        self._ended = ended
        self._epoll = select.epoll()
        self._lock = threading.Lock()
        self._ids: dict[int, str] = {}
        self._wake_read, self._wake_write = os.pipe()
        self._epoll.register(self._wake_read, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="server-watch", daemon=True)
        self._thread.start()

    def add(self, server_id: str, pid: int) -> bool:
        """Call back once when this process ends; False when it has ended already."""
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        with self._lock:
            self._ids[descriptor] = server_id
        self._epoll.register(descriptor, select.EPOLLIN)
        return True

    def forget(self, server_id: str) -> None:
        with self._lock:
            descriptors = [descriptor for descriptor, found in self._ids.items() if found == server_id]
            for descriptor in descriptors:
                del self._ids[descriptor]
                self._epoll.unregister(descriptor)
                os.close(descriptor)

    def close(self) -> None:
        os.write(self._wake_write, b"x")
        self._thread.join()
        for descriptor in [*self._ids, self._wake_read, self._wake_write]:
            os.close(descriptor)
        self._epoll.close()

    def _run(self) -> None:
        while True:
            for descriptor, _ in self._epoll.poll():
                if descriptor == self._wake_read:
                    return
                with self._lock:
                    server_id = self._ids.pop(descriptor, None)
                    if server_id is None:
                        continue
                    self._epoll.unregister(descriptor)
                    os.close(descriptor)
                try:
                    self._ended(server_id)
                except Exception:
                    # The ends of other servers have still to be reported.
                    log.exception("server %s: its end could not be reported", server_id)
