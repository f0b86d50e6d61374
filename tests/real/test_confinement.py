"""What root in a server may not ask of the kernel: mounts, modules, devices, settings, other namespaces."""

from __future__ import annotations

import json
import os
import platform
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("ending")]

REFUSED = {"EPERM", "EACCES", "ENOSYS"}
"""Errors that say that the caller may not; any other would mean that it got further than that."""

# Numbers of system calls on x86_64 and aarch64.
CALLS = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "fsopen": (430, 430),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "open_by_handle_at": (304, 265),
    "swapon": (167, 224),
    "acct": (163, 89),
    "clock_settime": (227, 112),
    "syslog": (103, 116),
    "quotactl": (179, 60),
    "add_key": (248, 217),
    "keyctl": (250, 219),
    "request_key": (249, 218),
    "clone": (56, 220),
    "clone3": (435, 435),
    "setns": (308, 268),
    "personality": (135, 92),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "fanotify_init": (300, 262),
    "process_vm_readv": (310, 270),
}

# `call(NAME, ...)` is the name of the error that a system call ends with, or the number that it returns.
PROLOGUE = f"""
import ctypes, errno, json, os, platform, sys
libc = ctypes.CDLL(None, use_errno=True)
numbers = json.loads('{json.dumps(CALLS)}')
def call(name, *arguments):
    number = numbers[name][platform.machine() == "aarch64"]
    prepared = [ctypes.c_char_p(each) if isinstance(each, bytes) else ctypes.c_long(each) for each in arguments]
    got = libc.syscall(ctypes.c_long(number), *prepared)
    return errno.errorcode[ctypes.get_errno()] if got == -1 else got
def opens(path, flags=os.O_WRONLY):
    try:
        os.close(os.open(path, flags))
    except OSError as error:
        return errno.errorcode[error.errno]
    return "opened"
"""

NEWNS, NEWUSER, NEWNET = 0x00020000, 0x10000000, 0x40000000
NAMESPACES = [NEWNS, 0x02000000, 0x04000000, 0x08000000, NEWUSER, 0x20000000, NEWNET, NEWUSER | NEWNS, NEWUSER | NEWNET]
BIND, REMOUNT = 4096, 32


@pytest.fixture(scope="module")
def server(cloud: RealCloud) -> Iterator[Server]:
    made = cloud.launch()
    yield made
    made.terminate()


def as_root(server: Server, code: str) -> str:
    return server.python(PROLOGUE + code, root=True)


EITHER = pytest.mark.parametrize("root", [True, False], ids=["root", "ec2-user"])


@pytest.mark.parametrize(
    "call",
    [
        "call('mount', b'none', b'/mnt', b'tmpfs', 0, 0)",
        "call('mount', b'proc', b'/mnt', b'proc', 0, 0)",
        "call('mount', b'overlay', b'/mnt', b'overlay', 0, b'lowerdir=/etc:/usr')",
        f"call('mount', b'/etc', b'/mnt', 0, {BIND}, 0)",
        f"call('mount', b'none', b'/sys', 0, {REMOUNT}, 0)",
        f"call('mount', b'none', b'/sys', 0, {REMOUNT | BIND}, 0)",
        "call('umount2', b'/proc/keys', 2)",
        "call('umount2', b'/sys/firmware', 2)",
        "call('pivot_root', b'/mnt', b'/mnt')",
        "call('fsopen', b'tmpfs', 0)",
        "call('open_tree', -100, b'/', 1)",
        "call('move_mount', -100, b'/mnt', -100, b'/srv', 0)",
        "call('mount_setattr', -100, b'/mnt', 0, bytes(32), 32)",
        f"call('unshare', {NEWNS})",
        f"call('unshare', {NEWUSER})",
        f"call('unshare', {NEWUSER | NEWNS})",
        f"call('unshare', {NEWNET})",
        "call('init_module', b'no module', 9, b'')",
        "call('finit_module', os.open('/bin/sh', os.O_RDONLY), b'', 0)",
        "call('delete_module', b'overlay', 0)",
        "call('kexec_load', 0, 0, 0, 0)",
        "call('bpf', 5, bytes(128), 128)",
        "call('perf_event_open', bytes(128), -1, 0, -1, 0)",
        "call('swapon', b'/etc/hostname', 0)",
        "call('acct', b'/etc/hostname')",
        "call('clock_settime', 0, bytes(16))",
        "call('syslog', 3, bytes(64), 64)",
    ],
)
def test_the_kernel_refuses_its_root(server: Server, call: str) -> None:
    assert as_root(server, f"print({call})") in REFUSED


@EITHER
def test_nobody_makes_a_namespace(server: Server, root: bool) -> None:
    """Neither by clone(2), which makes them where unshare(2) is refused, nor by clone3(2), which no filter can read."""
    code = f"""
import struct
def child(pid):
    if pid == 0:
        os._exit(0)
    if isinstance(pid, int):
        os.waitpid(pid, 0)
    return pid if isinstance(pid, str) else "made"
got = [child(call("clone", flags | 17, 0, 0, 0, 0)) for flags in {NAMESPACES}]
got += [call("unshare", flags) for flags in {NAMESPACES}]
got.append(call("setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0))
print(sorted(set(got)))
arguments = struct.pack("8Q", {NEWUSER}, 0, 0, 0, 17, 0, 0, 0)
print(child(call("clone3", arguments, len(arguments))), child(call("clone", 17, 0, 0, 0, 0)))
"""
    refused, others = server.python(PROLOGUE + code, root=root).splitlines()
    assert refused == "['EPERM']"
    assert others == "ENOSYS made"
    for command in ("unshare --user true", "unshare --map-root-user --mount true", "unshare --net true"):
        done = server.ssh(f"{'sudo ' if root else ''}{command}", check=False)
        assert (done.returncode, "Operation not permitted" in done.stderr) == (1, True), done.stderr


@EITHER
def test_sockets_are_of_the_networks_families(server: Server, root: bool) -> None:
    """AF_VSOCK leads past all network namespaces to what the host itself runs on, and any other family is a module."""
    code = """
import socket
opened, answers = set(), set()
for make, kinds in ((socket.socket, range(1, 7)), (socket.socketpair, (1, 2, 5))):
    for family in range(64):
        for kind in kinds:
            try:
                for each in [made] if isinstance(made := make(family, kind), socket.socket) else made:
                    each.close()
                opened.add(family)
            except OSError as error:
                if family not in (1, 2, 10, 16, 17):
                    answers.add(error.errno)
print(sorted(opened), sorted(errno.errorcode[each] for each in answers))
"""
    asked = server.python(PROLOGUE + code, root=root)
    assert asked == f"{'[1, 2, 10, 16, 17]' if root else '[1, 2, 10, 16]'} ['EAFNOSUPPORT']"


@EITHER
@pytest.mark.parametrize(
    "call",
    [
        "call('keyctl', 0, -3, 0, 0, 0)",
        "call('keyctl', 1, 0, 0, 0, 0)",
        "call('add_key', b'user', b'x', b'y', 1, -3)",
        "call('request_key', b'user', b'x', 0, -3)",
        "call('io_uring_setup', 8, bytes(256))",
        "call('userfaultfd', 1)",
        "call('bpf', 0, bytes(128), 128)",
        "call('perf_event_open', bytes(128), 0, -1, -1, 0)",
        "call('fanotify_init', 0, 0)",
        "call('personality', 0x0400000)",
        "call('syslog', 3, bytes(64), 64)",
        "call('syslog', 10, 0, 0)",
    ],
)
def test_parts_of_the_kernel_that_no_server_needs_are_closed(server: Server, call: str, root: bool) -> None:
    assert server.python(f"{PROLOGUE}print({call})", root=root) in REFUSED


@EITHER
def test_nobody_goes_before_the_hosts_programs(server: Server, root: bool) -> None:
    code = """
for asked in (
    lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)),
    lambda: os.setpriority(os.PRIO_PROCESS, 0, -1),
):
    try:
        asked()
        print("allowed")
    except PermissionError:
        print("refused")
"""
    assert server.python(PROLOGUE + code, root=root).split() == ["refused"] * 3


def test_a_32_bit_program_finds_no_way_around(server: Server) -> None:
    """On x86 its calls have other numbers, and one of them takes what it is to do from memory."""
    code = """
import mmap
if platform.machine() != "x86_64":
    # There is no such call on other machines.
    print("ENOSYS")
    sys.exit()
# `int 0x80` is the 32-bit way into the kernel from any program: the call's number in eax, its arguments in ebx and ecx.
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
page = libc.mmap(0x10000000, 4096, 7, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x10, -1, 0)
gate = bytes.fromhex("53 89f8 89f3 89d1 31d2 cd80 5b c3")
ctypes.memmove(page, gate, len(gate))
wanted = b"".join(each.to_bytes(4, "little") for each in (40, 1, 0))
ctypes.memmove(page + 512, wanted, len(wanted))
enter = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_uint, ctypes.c_uint)(page)
SOCKETCALL, SOCKET, CLONE = 102, 359, 120
for call in ((SOCKETCALL, 1, page + 512), (SOCKET, 40, 1), (CLONE, 0x10000000 | 17, 0)):
    trying = os.fork()
    if trying == 0:
        got = enter(*call)
        # A child of clone's has got a zero here.
        print(errno.errorcode[-got] if got < 0 else f"{call} worked", flush=True)
        os._exit(0)
    if os.WIFSIGNALED(os.waitpid(trying, 0)[1]):
        # A kernel without a way in for them.
        print("ENOSYS", flush=True)
"""
    done = server.ssh("sudo python3 -", text=PROLOGUE + code, check=False)
    answers = set(done.stdout.split("\n")) - {""}
    told = f"{done.returncode}: {done.stdout}{done.stderr}{server.cloud.facts()}"
    assert done.returncode == 0 and answers and answers <= {*REFUSED, "EAFNOSUPPORT"}, told


def test_calls_of_x32_are_refused(server: Server) -> None:
    """x86-64 with short pointers: the same calls, with a bit in their numbers. The filter ends who makes one of them. A
    kernel without x32, as Debian's, answers ENOSYS, which would say nothing of the filter."""
    code = """
import signal
X32, GETPID = 1 << 30, 39
trying = os.fork()
if trying == 0:
    got = libc.syscall(X32 | GETPID)
    print(errno.errorcode[ctypes.get_errno()] if got < 0 else f"{got} came back", flush=True)
    os._exit(0)
status = os.waitpid(trying, 0)[1]
if os.WIFSIGNALED(status):
    print(signal.Signals(os.WTERMSIG(status)).name)
"""
    # Other machines have no such calls.
    expected = "SIGSYS" if platform.machine() == "x86_64" else "ENOSYS"
    assert as_root(server, code) == expected


def test_what_programs_do_goes_on_working(server: Server) -> None:
    code = """
import asyncio, concurrent.futures, multiprocessing, socket, subprocess, threading
def double(number):
    return 2 * number
async def spawn():
    process = await asyncio.create_subprocess_exec("echo", "spawned", stdout=asyncio.subprocess.PIPE)
    print((await process.communicate())[0].decode().strip(), process.returncode)
if __name__ == "__main__":
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        print(sum(pool.map(double, range(100))))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(sum(pool.map(double, range(10))))
    asyncio.run(spawn())
    print(subprocess.run("ps -e | wc -l", shell=True, check=True, capture_output=True).returncode)
    a, b = socket.socketpair()
    a.send(b"x")
    print(b.recv(1), socket.getaddrinfo("localhost", 80)[0][0].name, socket.if_nameindex()[0][1])
"""
    words = server.python(code).splitlines()
    assert words[:5] == ["9900", "90", "spawned 0", "0", "b'x' AF_INET6 lo"] or words[4] == "b'x' AF_INET lo"
    for command in ("uv --version", "uv venv --offline /tmp/venv", "apt-cache policy bash", "sudo dpkg --configure -a"):
        server.ssh(command)
    server.ssh("ip -brief address && sudo ip neigh && curl --version && git --version || true")


def test_no_file_is_opened_by_its_number(server: Server) -> None:
    """The way out of containers that keep CAP_DAC_READ_SEARCH: inode 2 is the root of the host's own file system."""
    handle = "(8).to_bytes(4, 'little') + (1).to_bytes(4, 'little') + (2).to_bytes(4, 'little') + bytes(4)"
    code = f"print(call('open_by_handle_at', os.open('/', os.O_RDONLY), {handle}, 0))"
    assert as_root(server, code) in REFUSED


def test_no_module_is_loaded_for_it(server: Server) -> None:
    """Asking for a kind of link that is not there makes the kernel look for a module, if the asker may."""
    kinds = {"dummy", "ifb", "nlmon", "vcan"}

    def loaded() -> set[str]:
        # Others, of whom the machine has need by itself, may come at any time.
        return {path.name for path in Path("/sys/module").iterdir()} & {*kinds, "can", "can_dev"}

    before = loaded()
    for name in sorted(kinds):
        server.ssh(f"sudo ip link add x type {name} && sudo ip link delete x", check=False)
    assert loaded() == before
    assert server.ssh("sudo modprobe dummy || sudo /sbin/modprobe dummy", check=False).returncode != 0


def test_there_is_no_device_of_the_hosts(server: Server) -> None:
    code = """
import stat
kinds = {}
for folder, _, names in os.walk("/dev"):
    for name in names:
        path = os.path.join(folder, name)
        if stat.S_ISBLK(os.lstat(path).st_mode):
            kinds[path] = "block"
        elif stat.S_ISCHR(os.lstat(path).st_mode) and not folder.startswith("/dev/pts"):
            kinds[path] = "character"
print(json.dumps(kinds))
"""
    found = json.loads(as_root(server, code))
    assert set(found.values()) == {"character"}
    assert set(found) <= {f"/dev/{name}" for name in ("full", "null", "random", "tty", "urandom", "zero", "ptmx")}
    host = os.stat("/").st_dev
    major, minor = os.major(host), os.minor(host)
    code = f"""
import stat
try:
    os.mknod("/var/tmp/disk", 0o600 | stat.S_IFBLK, os.makedev({major}, {minor}))
    print(opens("/var/tmp/disk", os.O_RDONLY))
except OSError as error:
    print(errno.errorcode[error.errno])
"""
    assert as_root(server, code) in REFUSED


def test_no_setting_of_the_hosts_kernel_can_be_written(server: Server) -> None:
    """Opened for writing, nothing written. What opens belongs to a namespace of the server's own."""
    code = """
found = []
for top in ("/proc/sys", "/sys"):
    for folder, _, names in os.walk(top):
        found += [path for path in (os.path.join(folder, name) for name in names) if opens(path) == "opened"]
print(json.dumps(found))
"""
    writable = [Path(path).relative_to("/proc/sys") for path in json.loads(as_root(server, code))]
    # sysctl's `net`; the limits of System V IPC and message queues; pid_max is a pid namespace's since Linux 6.14.
    own = {"auto_msgmni", "msgmax", "msgmnb", "msgmni", "sem", "shm_rmid_forced", "shmall", "shmmax", "shmmni"}
    own |= {"msg_next_id", "sem_next_id", "shm_next_id", "ns_last_pid", "pid_max", "hostname", "domainname"}
    strange = [
        str(path)
        for path in writable
        if path.parts[0] not in ("net", "user")
        and path.parts[:2] != ("fs", "mqueue")
        and not (path.parts[0] == "kernel" and path.name in own)
    ]
    assert writable
    assert strange == []


def test_its_own_settings_change_nothing_here(server: Server) -> None:
    settings = ("kernel/msgmax", "kernel/shmmni", "fs/mqueue/queues_max", "net/ipv4/ip_forward", "kernel/pid_max")
    before = {name: Path("/proc/sys", name).read_text() for name in settings}
    for name in settings:
        server.ssh(f"sudo sh -c 'echo $(($(cat /proc/sys/{name}) + 1)) >/proc/sys/{name}'", check=False)
    assert {name: Path("/proc/sys", name).read_text() for name in settings} == before


@pytest.mark.parametrize("path", ["/proc/sysrq-trigger", "/proc/kcore", "/proc/kmsg", "/dev/mem", "/dev/kmsg"])
def test_what_reaches_the_whole_machine_is_closed(server: Server, path: str) -> None:
    # The host's log, its memory, its panic button: read-only, hidden behind another file, or not there.
    assert as_root(server, f"print(opens({path!r}, os.O_WRONLY))") in REFUSED | {"EROFS", "ENOENT"}
    assert as_root(server, f"print(opens({path!r}, os.O_RDONLY))") in REFUSED | {"ENOENT"} or (
        as_root(server, f"print(len(open({path!r}, 'rb').read(1)))") == "0"
    )


def test_no_process_of_it_outlives_those_of_the_host_when_memory_ends(server: Server) -> None:
    code = """
descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
try:
    print(os.write(descriptor, b"-1000"))
except OSError as error:
    print(errno.errorcode[error.errno])
"""
    assert as_root(server, code) in REFUSED


def test_cgroups_cannot_be_changed_from_inside(server: Server) -> None:
    code = """
found = []
for folder, folders, names in os.walk("/sys/fs/cgroup"):
    for name in names:
        if opens(os.path.join(folder, name)) == "opened":
            found.append(os.path.join(folder, name))
    try:
        os.mkdir(os.path.join(folder, "mine"))
        found.append(os.path.join(folder, "mine"))
    except OSError:
        pass
print(json.dumps(found))
"""
    assert json.loads(as_root(server, code)) == []


def test_a_program_opens_as_many_files_as_on_ec2(server: Server) -> None:
    """Whatever the limits of who has started the cloud."""
    most = min(524_288, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    assert server.says("ulimit -Sn; ulimit -Hn").split() == ["1024", str(most)]


@pytest.mark.parametrize("path", ["/proc/interrupts", "/proc/timer_list", "/proc/keys", "/proc/acpi"])
def test_what_tells_of_others_is_empty(server: Server, path: str) -> None:
    assert server.says(f"sudo ls -A {path}/ 2>/dev/null || sudo cat {path}") == ""
