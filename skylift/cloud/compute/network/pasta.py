"""The way to the internet: one pasta per cloud, a user-space NAT in the uplink's namespace.

pasta makes its connections from the host's namespace, as a process of the host, so neither ip_forward nor any rule of
the host's is needed. It runs as a uid that nothing else has, with rights only over the uplink's namespace, which
belongs to a user namespace of that uid. The host's own table lets that uid reach nothing on the host itself (host.py).
"""

from __future__ import annotations

import fcntl
import os
import re
import resource
import select
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from skylift.cloud.compute.network.error import NamespaceError, ProgramMissing, UplinkRefused
from skylift.cloud.compute.network.loopback_range import LoopbackRange
from skylift.cloud.compute.network.namespace import Namespace, name_thread
from skylift.cloud.state.program import find_program, own_environment
from skylift.cloud.state.rootless import MARK

LINK = "out"
ADDRESS = "169.254.2.2"
GATEWAY = "169.254.2.1"
PREFIX = 30

HOST_TABLE = Path("/proc/sys/net/netfilter/nf_conntrack_max")
LINGER = 120
"""The most seconds that a connection stays in the table after its end (nf_conntrack_tcp_timeout_time_wait)."""

# linux/nsfs.h: a descriptor of the user namespace that owns a namespace.
NS_GET_USERNS = 0xB701

# pasta opens /dev/net/tun after it has dropped its rights, but some hosts keep that device for root. It also closes the
# descriptors that it inherits. So it gets a private mount namespace with a tun device for all users, and with names for
# the two namespaces (descriptors $0 and $1). AppArmor lets pasta read namespaces in few places. The profiles of Debian
# 12, Debian 13 and Ubuntu 24.04 have one of them in common: /run/user/UID/netns. `mount -c` does not resolve the
# descriptor's path, which is "/" for a namespace whose first name was removed.
_PLACE = "/run/user/0/netns"
_PRIVATE_NAMES = f"""
owner=$0 network=$1 && shift && umask 022 &&
{{ test -e {MARK} || {{ mount -t tmpfs -o mode=755 skylift /dev/net && mknod -m 666 /dev/net/tun c 10 200; }}; }} &&
mkdir -p /run/user &&
mount -t tmpfs -o mode=755 skylift /run/user &&
mkdir -p {_PLACE} &&
touch {_PLACE}/user {_PLACE}/net &&
mount -c --bind "/proc/self/fd/$owner" {_PLACE}/user &&
mount -c --bind "/proc/self/fd/$network" {_PLACE}/net &&
exec "$@"
"""

_LIFT = "apparmor_parser -R /etc/apparmor.d/usr.bin.pasta"
_KERNEL_LOG = Path("/dev/kmsg")
_DENIED = re.compile(r'apparmor="DENIED".* profile="(?:pasta|passt)[^"]*"(?: name="([^"]*)")?')


def create_uplink_namespace(loopback: LoopbackRange, name: str) -> None:
    """A network namespace that belongs to a user namespace of pasta's uid, so that pasta may work in it.

    CAP_SYS_ADMIN is kept to make the user namespace: distributions restrict user namespaces of ordinary users.
    """
    command = [
        *_as_uid(loopback, "+sys_admin"),
        *(_program("unshare", "util-linux"), "--user", "--map-root-user", "--net"),
        *("sh", "-c", "echo made && read _"),
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=own_environment()) as process:
        assert process.stdin and process.stdout and process.stderr
        if process.stdout.readline() != b"made\n":
            words = process.stderr.read().decode(errors="replace").strip()
            raise NamespaceError(f"create the uplink's user namespace: {words}; see user.max_user_namespaces")
        name_thread(name, str(process.pid))
        process.stdin.close()


def share_of_connections() -> int:
    """The most connections that pasta may have at once, and the most new ones in LINGER seconds: a quarter each of the
    room in the host's table. If the table is full, the host itself gets no new connection."""
    return max(room_for_connections() // 4, 256)


def room_for_connections() -> int:
    """How many connections fit into the host's connection table, and into each network namespace's table."""
    try:
        return int(HOST_TABLE.read_text())
    except FileNotFoundError:
        # Nothing has needed the table yet. This is what the kernel gives to a machine of 1 GiB.
        return 65536


def pasta_command(loopback: LoopbackRange, network: int, owner: int, connections: int) -> list[str]:
    """`network` and `owner` are descriptors of the namespace and of its user namespace, inherited by the command. Each
    connection takes a descriptor."""
    return [
        _program("prlimit", "util-linux"),
        f"--nofile={connections}:{connections}",
        *(_program("unshare", "util-linux"), "--mount"),
        *("sh", "-c", _PRIVATE_NAMES, str(owner), str(network)),
        *_as_uid(loopback, "-all"),
        _program("pasta", "passt"),
        *("--userns", f"{_PLACE}/user", "--netns", f"{_PLACE}/net"),
        # It would watch the name of its namespace, which is its own.
        "--no-netns-quit",
        *("--config-net", "--ipv4-only", "--ns-ifname", LINK),
        *("--address", ADDRESS, "--netmask", str(PREFIX), "--gateway", GATEWAY),
        # Nothing of the host's loopback: no address is mapped to it, and no port is forwarded in either direction.
        "--no-map-gw",
        *("--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"),
        *("--no-dhcp", "--no-dhcpv6", "--no-ndp", "--no-ra"),
    ]


def start(loopback: LoopbackRange, uplink: Namespace) -> None:
    """Start pasta; it outlives this process. Returns when its link is configured. Raises UplinkRefused."""
    owner = fcntl.ioctl(uplink.descriptor, NS_GET_USERNS)
    try:
        done = subprocess.run(
            pasta_command(loopback, uplink.descriptor, owner, _descriptors()),
            # It reads what servers send: of the cloud's own variables, which have passwords, it gets none.
            env=own_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[owner, uplink.descriptor],
            start_new_session=True,
            check=False,
        )
    finally:
        os.close(owner)
    if done.returncode != 0:
        words = done.stdout.decode(errors="replace").strip()
        raise UplinkRefused(f"pasta: {words}{denial()}")


def denial() -> str:
    """A sentence where AppArmor has denied pasta something; empty where the kernel's log has nothing of it."""
    found = [each for each in map(_DENIED.search, _kernel_log()) if each]
    if not found:
        return ""
    what = f" {found[-1][1]}" if found[-1][1] else ""
    return f". AppArmor's profile of pasta denies it{what}; lift it: sudo {_LIFT}"


def _kernel_log() -> list[str]:
    """The kernel's messages, oldest first; none where this process may not read them. A read is one message."""
    try:
        descriptor = os.open(_KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    lines = []
    try:
        while True:
            with suppress(BrokenPipeError):  # messages that were overwritten before they were read
                lines.append(os.read(descriptor, 8192).decode(errors="replace"))
    except OSError:
        # At the end of what there is.
        return lines
    finally:
        os.close(descriptor)


def _descriptors() -> int:
    """Not above what this process may have: raising that is not ours."""
    return min(share_of_connections(), resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def running(loopback: LoopbackRange) -> list[int]:
    """Pids of everything that runs as pasta's uid."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and _uid(path) == loopback.pasta_uid:
            found.append(int(path.name))
    return found


def stop(loopback: LoopbackRange) -> None:
    """End pasta and wait until it has ended."""
    for pid in running(loopback):
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            _wait(descriptor)
        except ProcessLookupError:
            continue
        finally:
            os.close(descriptor)


def _wait(descriptor: int) -> None:
    """A process descriptor is readable once the process has ended; not being its parent, we cannot wait for it."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll()


def _uid(process: Path) -> int | None:
    """The uid of a process; None when it has ended, reaped by its parent or not."""
    try:
        status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if status["State"].startswith("Z") else int(status["Uid"].split()[0])


def _as_uid(loopback: LoopbackRange, capabilities: str) -> list[str]:
    uid = str(loopback.pasta_uid)
    kept = "-all" if capabilities == "-all" else f"-all,{capabilities}"
    return [
        _program("setpriv", "util-linux"),
        *("--reuid", uid, "--regid", uid, "--clear-groups"),
        *("--inh-caps", kept, "--ambient-caps", kept),
    ]


def _program(name: str, package: str) -> str:
    found = find_program(name)
    if found is None:
        raise ProgramMissing(name, package)
    return found
