"""Checks what this machine can do for the embedded EC2: one finding for each need, with the way to mend it."""

from __future__ import annotations

import grp
import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from skylift.cloud.compute import probe
from skylift.cloud.compute.disk.removal import trees_aside
from skylift.cloud.compute.image.image import default_image
from skylift.cloud.compute.image.recipe import ArchitectureUnknown, read_recipe
from skylift.cloud.compute.network.error import KernelRefused
from skylift.cloud.compute.network.loopback_range import LoopbackRange
from skylift.cloud.compute.network.network import loopback_ranges, try_way_out
from skylift.cloud.compute.packages import PARTS, Package
from skylift.cloud.compute.server import cgroup
from skylift.cloud.compute.server.lxcfs import FUSE, SHARED
from skylift.cloud.domain.opening import OpenNow
from skylift.cloud.state.data import EndpointUnreadable
from skylift.cloud.state.home import DEFAULT_PORT, Home
from skylift.cloud.state.person import Person, calling_user
from skylift.cloud.state.program import own_environment

_SUDOERS = {"admin", "sudo", "wheel"}
"""Members of these groups may use sudo on Debian, Ubuntu, Fedora and distributions that are made from them."""
KERNEL = (5, 19)  # idmapped mounts under overlayfs
LOCALHOST = "127.0.0.1"
USER_NAMESPACES = Path("/proc/sys/user/max_user_namespaces")


@dataclass(frozen=True)
class Capability:
    """One finding. `ok` is None where it takes root to know; `fix` is empty where nothing needs mending."""

    name: str
    ok: bool | None
    found: str
    fix: str = ""


def assess(home: Home, port: int | None = None) -> list[Capability]:
    """Everything that a cloud in `home` needs, in the order in which it is needed.

    `port` is the port that its endpoint must have. Without it, any free port will do; the usual one is tried first.
    """
    return [
        *(_part(part) for part in PARTS),
        _kernel(),
        _root(home),
        _user_namespaces(home),
        *([] if home.is_rootless else [_overlay(home)]),
        _firewall(home),
        _links(home),
        _way_out(home),
        *([] if home.is_rootless else [_cgroups(), _uids(), _sizes()]),
        _state_directory(home),
        _data_directory(home),
        _disk_space(home),
        _image(home),
        *_captures(home),
        *_to_be_deleted(home),
        *_address(home),
        _port(home, port),
        *_open_to_servers(home),
        *_lost_clouds(),
    ]


def _part(part: Package) -> Capability:
    found = part.found()
    if found is None:
        names = " or ".join(part.programs or part.files)
        return Capability(
            part.name, False, f"{names} not found", f"skylift setup, or install the package {part.package}"
        )
    return Capability(part.name, True, f"{found} {_version(found)}".rstrip() if part.programs else found)


def _version(program: str) -> str:
    """The number that a program gives for itself; OpenSSH and iproute2 know `-V` only."""
    option = "-V" if Path(program).name in ("ssh", "ip") else "--version"
    done = subprocess.run(
        [program, option], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=own_environment()
    )
    found = re.search(r"\d+(?:\.\d+)+\S*|\d{4}_\d\d_\d\d\S*", done.stdout + done.stderr)
    return found[0].strip(",;.\"'") if found else ""


def _kernel() -> Capability:
    release = os.uname().release
    numbers = tuple(int(number) for number in re.findall(r"\d+", release)[:2])
    wanted = ".".join(map(str, KERNEL))
    return Capability(
        "Linux kernel", numbers >= KERNEL, release, "" if numbers >= KERNEL else f"Linux {wanted} or newer"
    )


def _root(home: Home) -> Capability:
    """Whether this user may start a cloud. sudo itself is not run: it reports users without the right to the
    machine's administrator.
    """
    name = "root"
    if home.is_rootless:
        return Capability(name, True, "not needed: the cloud runs without. Nothing but what limits you limits servers")
    if os.geteuid() == 0:
        return Capability(name, True, "this is root")
    if _is_up(home):
        return Capability(name, True, "not needed: the cloud is up")
    who = calling_user().name
    fix = (
        "skylift setup --rootless. Or ask this machine's administrator to let you use sudo, or to start your cloud as "
        f"root: SKYLIFT_HOME={shlex.quote(str(home.path))} skylift setup. Jobs on AWS take no root: --on aws"
    )
    if shutil.which("sudo") is None:
        return Capability(name, False, f"{who} is not root, and there is no sudo", fix)
    mine = sorted(_SUDOERS & {grp.getgrgid(number).gr_name for number in os.getgroups()})
    if mine:
        return Capability(name, True, f"by sudo: {who} is in the group {mine[0]}")
    groups = " or ".join(sorted(_SUDOERS))
    return Capability(name, None, f"perhaps by sudo, but {who} is not in the group {groups}", fix)


def _user_namespaces(home: Home) -> Capability:
    name = "user namespaces"
    if not USER_NAMESPACES.exists():
        return Capability(name, False, "this kernel has none", "a kernel with CONFIG_USER_NS")
    if _user_namespaces_off():
        return Capability(name, False, "switched off", "sysctl user.max_user_namespaces=15000")
    return _tried(name, home, probe.user_namespace, "work", "check the limits of the container or VM this runs in")


def _user_namespaces_off() -> bool:
    return USER_NAMESPACES.exists() and int(USER_NAMESPACES.read_text()) == 0


def _overlay(home: Home) -> Capability:
    place = _nearest(home.data.path)
    kind = _file_system(place) if os.geteuid() == 0 else ""
    fix = "set SKYLIFT_DATA to a directory of root's on ext4, xfs or btrfs; it takes Linux 5.19, util-linux 2.39 too"

    def attempt() -> str:
        problem = probe.overlay(place)
        return problem and f"{problem} (on {kind})"

    return _tried("idmapped overlay", home, attempt, f"works on {kind} ({place})", fix)


def _firewall(home: Home) -> Capability:
    fix = "modprobe nf_tables nf_conntrack nft_ct nft_connlimit nft_hash nft_nat nft_masq"
    return _tried("nftables with conntrack", home, probe.firewall, "works", fix)


def _links(home: Home) -> Capability:
    return _tried("network namespaces, veth", home, probe.links, "work", "modprobe veth")


def _way_out(home: Home) -> Capability:
    name, fix = "way to the internet", "servers work without it; jobs that need packages do not"
    if os.geteuid() != 0 and _is_up(home):
        with suppress(EndpointUnreadable):
            endpoint = home.endpoint()
            if endpoint and endpoint.no_way_out:
                return Capability(name, False, endpoint.no_way_out, fix)
    return _tried(name, home, try_way_out, "pasta starts", fix)


def _cgroups() -> Capability:
    wanted = {"cpu", "memory", "pids"}
    name = "cgroups"
    unified = cgroup.MOUNT / "cgroup.controllers"
    if unified.exists():
        there, kind = set(unified.read_text().split()), "version 2"
    else:
        names = {path.name for path in cgroup.hierarchies()}
        there = {each for name in names for each in name.split(",")}
        kind = "version 1 and 2 together" if "unified" in names else "version 1"
    missing = ", ".join(sorted(wanted - there))
    if not there:
        return Capability(name, False, f"nothing at {cgroup.MOUNT}", f"mount the cgroup file system at {cgroup.MOUNT}")
    if missing:
        return Capability(name, False, f"{kind}, without {missing}", f"a kernel, or its command line, with {missing}")
    return Capability(name, True, f"{kind}: {', '.join(sorted(there & wanted))}")


def _uids() -> Capability:
    """Servers take ranges of 65,536 uids from 1,000,000,000 up; what /etc/subuid gives to others is left out."""
    try:
        lines = Path("/etc/subuid").read_text().split()
    except FileNotFoundError:
        lines = []
    found = f"{len(lines)} ranges reserved in /etc/subuid" if lines else "none reserved in /etc/subuid"
    mapped = Path("/proc/self/uid_map").read_text().split()
    if len(mapped) == 3 and int(mapped[2]) < 1 << 31:
        fix = "run skylift outside of any container that has its own user namespace"
        return Capability("uid ranges", False, f"only {mapped[2]} uids exist here", fix)
    return Capability("uid ranges", True, found)


def _sizes() -> Capability:
    """lxcfs. Without it servers are limited to their size all the same, but read this machine's."""
    name = "sizes in servers"
    if (SHARED / "proc" / "meminfo").exists():
        return Capability(name, True, f"by the lxcfs at {SHARED}")
    if not FUSE.exists():
        return Capability(name, True, f"no {FUSE} (optional): `free` in a server shows this machine's memory")
    return Capability(name, True, "each cloud starts lxcfs for its servers")


def _state_directory(home: Home) -> Capability:
    place = _nearest(home.path)
    caller = calling_user()
    if _writable(place, caller):
        return Capability("state directory", True, str(home.path))
    fix = f"make {place} writable for {caller.name}, or set SKYLIFT_HOME to a directory that is"
    return Capability("state directory", False, f"{place} is not writable for {caller.name}", fix)


def _writable(place: Path, caller: Person) -> bool:
    if caller.uid == os.geteuid():
        return os.access(place, os.W_OK | os.X_OK)
    command = ["test", "-w", str(place)]
    return subprocess.run(command, check=False, env=own_environment(), **caller.run_as()).returncode == 0  # type: ignore[call-overload,no-any-return]


def _data_directory(home: Home) -> Capability:
    """Where root keeps the cloud's files; only root may change any directory on the way to it."""
    data = home.data.path
    for place in () if home.is_rootless else reversed((data, *data.parents)):
        try:
            found = place.lstat()
        except FileNotFoundError:
            break
        if found.st_uid != 0 or found.st_mode & 0o022 or not stat.S_ISDIR(found.st_mode):
            fix = "give it to root, with mode 755; or set SKYLIFT_DATA to a directory that is root's all the way"
            return Capability("data directory", False, f"users other than root can change {place}", fix)
    return Capability("data directory", True, str(data))


def _disk_space(home: Home) -> Capability:
    place = _nearest(home.data.path)
    free = shutil.disk_usage(place).free >> 20
    needed = 512 if _built(home) else 512 + read_recipe().needs_mib
    fix = f"free some, or set SKYLIFT_DATA to a directory of root's on another disk; it takes {needed} MiB to begin"
    return Capability(
        "disk space", free >= needed, f"{free / 1024:.1f} GiB free at {place}", "" if free >= needed else fix
    )


def _image(home: Home) -> Capability:
    try:
        image = default_image(home.data)
    except ArchitectureUnknown as error:
        return Capability("image, with tini", False, str(error), "a machine with one of these processors")
    if image is None:
        return Capability("image, with tini", False, "not built yet", "skylift setup")
    # Only root can look inside.
    tini = os.geteuid() != 0 or (image.root / "usr/bin/tini").exists()
    fix = "" if tini else f"remove {image.root.parent}, then skylift setup"
    return Capability("image, with tini", tini, f"{image.name}, {image.size >> 20} MiB", fix)


def _captures(home: Home) -> list[Capability]:
    """The images that were made of servers: their number, and what removing them would give back. They share most files
    with the image below them."""
    name = "images of servers"
    try:
        found = [each for each in home.data.captures.iterdir() if each.name.startswith("ami-")]
    except FileNotFoundError:
        return []
    except PermissionError:
        return [Capability(name, True, "root sees how many there are, and how large")]
    if not found:
        return []
    own = _own_bytes(found) >> 20
    advice = "`skylift sweep` removes old environments, `aws ec2 deregister-image` any"
    return [Capability(name, True, f"{len(found)}, {own} MiB; {advice}")]


def _own_bytes(trees: list[Path]) -> int:
    """The disk space of files with one link only. Files that are removed during the count are left out."""
    command = ["find", *map(str, trees), "-xdev", "!", "-type", "d", "-links", "1", "-printf", "%b\n"]
    found = subprocess.run(command, capture_output=True, check=False, env=own_environment())
    return 512 * sum(map(int, found.stdout.split()))


def _to_be_deleted(home: Home) -> list[Capability]:
    """What servers and clouds have left, and is not deleted yet. The user may see nothing of servers'."""
    name = "still to be deleted"
    with suppress(PermissionError):
        left = trees_aside((home.data.instances, home.data.captures, home.data.path.parent))
        return [Capability(name, True, f"{each}; the log says why, if it stays") for each in left]
    return []


def _built(home: Home) -> bool:
    try:
        return default_image(home.data) is not None
    except ArchitectureUnknown:
        return False


def _is_up(home: Home) -> bool:
    try:
        return home.running_pid() is not None
    except EndpointUnreadable:
        return True


def _address(home: Home) -> list[Capability]:
    """Whether a cloud that is up can be found. An earlier version wrote its address for root alone where the umask was
    strict."""
    try:
        home.running_pid()
    except EndpointUnreadable as error:
        found = f"the cloud is up, but {calling_user().name} may not read {error}, which has it"
        return [Capability("address of the cloud", False, found, "skylift cloud up")]
    return []


def _port(home: Home, port: int | None) -> Capability:
    wanted = DEFAULT_PORT if port is None else port
    name = "free port"
    try:
        endpoint = home.endpoint() if home.running_pid() is not None else None
    except EndpointUnreadable:
        endpoint = None
    if endpoint is not None and (port is None or endpoint.url.endswith(f":{port}")):
        return Capability(name, True, f"{endpoint.url} is this cloud's own")
    if port_free(wanted):
        return Capability(name, True, f"{wanted} on {LOCALHOST}")
    if port is None:
        return Capability(name, True, f"{wanted} is taken on {LOCALHOST}; the cloud takes another one")
    return Capability(name, False, f"{port} is taken on {LOCALHOST}", "choose another one with --port, or none")


def _open_to_servers(home: Home) -> list[Capability]:
    """The networks around this machine that servers may reach. None of it is a fault by itself."""
    name = "open to servers"
    if not _is_up(home):
        return [Capability(name, True, "nothing: the cloud is not up")]
    try:
        entries = home.data.open_now()
    except PermissionError:
        return [Capability(name, None, "root sees what")]
    if entries is None:
        return [Capability(name, True, "not known: the cloud that is up does not say")]
    shown = [
        *(Capability(name, True, f"{text}, {_reason(one, text)}") for one in entries for text in one.open),
        *(Capability(name, True, f"not {one.wanted}, {one.why}: {one.problem}") for one in entries if one.problem),
    ]
    return shown or [Capability(name, True, "nothing of your networks")]


def _lost_clouds() -> list[Capability]:
    """Address ranges of clouds whose directory is not found, with the command that releases an unused one.

    They are never released automatically: the directory may be on a disk that is mounted again later.
    """
    ranges = loopback_ranges()
    try:
        found = ranges.all()
    except KernelRefused as error:
        return [Capability("other clouds", None, str(error))]
    return [_in_use(each) if ranges.in_use(each) else _lost(each) for each in found if _is_gone(Path(each.home))]


def _in_use(hidden: LoopbackRange) -> Capability:
    """Its directory may have been moved, or lie behind a mount that this process does not see. Nothing needs doing."""
    what = f"{hidden.addresses} is in use by the cloud of {hidden.home}, which cannot be seen from here"
    return Capability("other cloud", True, what)


def _lost(lost: LoopbackRange) -> Capability:
    command = f"SKYLIFT_HOME={shlex.quote(lost.home)} skylift cloud down"
    what = f"{lost.addresses} is held for {lost.home}, which is gone, and not in use; `{command}` gives it back"
    return Capability("lost cloud", True, what)


def _is_gone(place: Path) -> bool:
    """What this user may not look at is not gone."""
    try:
        place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _reason(one: OpenNow, text: str) -> str:
    return one.why if text == one.wanted else f"{one.wanted}: {one.why}"


def port_free(port: int) -> bool:
    with socket.socket() as probe_socket:
        # As the endpoint binds it: connections of an earlier cloud that are still closing do not count.
        probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe_socket.bind((LOCALHOST, port))
        except OSError:
            return False
    return True


def _tried(name: str, home: Home, attempt: Callable[[], str], works: str, fix: str) -> Capability:
    """`attempt` says what is wrong. Only root can make it."""
    if _user_namespaces_off() and attempt not in (probe.firewall, probe.links):
        return Capability(name, False, "not tried: it takes user namespaces", "switch user namespaces on first")
    if os.geteuid() == 0:
        problem = attempt()
        return Capability(name, not problem, problem or works, problem and fix)
    if _is_up(home):
        return Capability(name, True, "there: the cloud that is up has it")
    return Capability(name, None, "tried in a cloud that is up" if home.is_rootless else "takes root to try")


def _nearest(path: Path) -> Path:
    """The directory itself, or the parent that it will be made in."""
    return next(place for place in (path, *path.parents) if place.is_dir())


def _file_system(path: Path) -> str:
    command = ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=own_environment()).stdout.strip()
