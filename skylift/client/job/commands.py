"""Commands as values: pure functions that build the exact argv. Nothing here runs anything."""

from __future__ import annotations

import base64
import re
import shlex
import zlib
from collections.abc import Sequence
from pathlib import Path

from skylift.client.errors import LaunchFailed
from skylift.client.job.job import Program

SUPERVISOR_HOME = "/var/lib/skylift"
BOOT = f"{SUPERVISOR_HOME}/boot.pyz"
SUPERVISOR = f"{SUPERVISOR_HOME}/supervisor.pyz"
PER_BOOT = "/var/lib/cloud/scripts/per-boot"
USER_DATA_LIMIT = 16384
"""The most bytes of user data before base64, as RunInstances documents."""

_FIND_DEADLINE = f"""\
off=$(cat {SUPERVISOR_HOME}/off)
if [ -z "$off" ]; then
off=$(($(date +%s) + {{lasts}}))
mkdir -p -m 711 {SUPERVISOR_HOME}
echo $off >{SUPERVISOR_HOME}/off
fi
"""
_WITH_DEADLINE = """\
argv.append("--deadline=" + os.environ["SKYLIFT_TIMER"])
"""


def program_argv(program: Program) -> list[str]:
    """The command that the supervisor starts. It replaces a first word `python` by the environment's interpreter,
    unless the program is a command."""
    if program.kind == "script":
        target = program.target
        return ["python", f"./{target}" if target.startswith("-") else target, *program.args]
    if program.kind == "module":
        return ["python", "-m", program.target, *program.args]
    return [program.target, *program.args]


def boot_argv(bucket: str, prefix: str, region: str, deadline: int | None, user: str, sha256: str) -> list[str]:
    """The arguments of the boot program. `deadline` is in seconds since the epoch, None where the boot script finds it;
    `sha256` is the digest of the archive that it downloads."""
    return [
        "python3",
        BOOT,
        "boot",
        f"--bucket={bucket}",
        f"--prefix={prefix}",
        f"--region={region}",
        *([f"--deadline={deadline}"] if deadline is not None else []),
        f"--user={user}",
        f"--sha256={sha256}",
    ]


def attach_argv(job: str) -> list[str]:
    """The command on the server that connects stdin and stdout to the supervisor's socket, for an sshd that does not
    forward to sockets."""
    return ["python3", SUPERVISOR, "attach", job]


def socket_path(job: str) -> str:
    return f"/run/skylift/{job}.sock"


def boot_script(archive: bytes, argv: list[str], deadline: int | None, lasts: int = 0) -> str:
    """User data: a script that sets the server's shutdown timer, writes the boot program to a file and executes it in a
    session of its own. Its first lines are for the shell, which starts in a millisecond, and the rest is Python. So a
    server turns itself off even if this script is killed after that millisecond. Without a `deadline`, it is `lasts`
    seconds after the server's first boot, and is kept on its disk for later ones.

    cloud-init runs the script at each later boot too, but not on another instance with a copy of this disk. Under
    systemd the boot program gets a unit of its own, because cloud-init's children end with cloud-init. That unit
    survives the OOM killer ending one of its processes, and what it says is on the server's console, too. Whoever wrote
    this script to the disk has not synced it: after a power cut it would be empty, and nothing would run. Raises
    LaunchFailed when the script is larger than user data may be.
    """
    # All modules together are a quarter smaller than each by itself.
    packed = base64.b85encode(zlib.compress(archive, 9)).decode()
    find, when, more = "", str(deadline), ""
    if deadline is None:
        find, when, more = _FIND_DEADLINE.format(lasts=lasts), "$off", _WITH_DEADLINE
    script = f"""#!/bin/sh
''':'
{find}minutes=$((({when} - $(date +%s)) / 60))
[ $minutes -gt 0 ] || minutes=1
shutdown -P +$minutes </dev/null &
SKYLIFT_TIMER={when} exec python3 "$0"
'''
import base64, os, sys, zlib
os.umask(0o077)
os.makedirs({SUPERVISOR_HOME!r}, exist_ok=True)
os.chmod({SUPERVISOR_HOME!r}, 0o711)
with open({BOOT!r}, "wb") as file:
    file.write(zlib.decompress(base64.b85decode("{packed}")))
here = os.path.realpath(__file__)
os.fsync(os.open(here, os.O_RDONLY))
os.makedirs({PER_BOOT!r}, exist_ok=True)
with open({PER_BOOT!r} + "/skylift", "w") as file:
    os.chmod(file.name, 0o700)
    file.write("#!/bin/sh\\n[ ! %s -ef /var/lib/cloud/instance/scripts ] || exec %s\\n" % (os.path.dirname(here), here))
    file.flush()
    os.fsync(file.fileno())
argv = {argv!r}
{more}if os.path.isdir("/run/systemd/system"):
    unit = ["systemd-run", "--quiet", "--unit=skylift-supervisor", "--property=KillMode=process"]
    unit += ["--property=OOMPolicy=continue", "--property=StandardOutput=journal+console"]
    os.execvp(unit[0], unit + argv)
if os.fork() == 0:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = argv[1:]
    sys.path.insert(0, argv[1])
    from skylift.agent.boot import main
    main()
"""
    if len(script.encode()) > USER_DATA_LIMIT:
        raise LaunchFailed(f"The boot script is {len(script)} bytes; user data may have {USER_DATA_LIMIT}.")
    return script


def ssh_argv(
    key: Path, known_hosts: Path, user: str, address: str, command: tuple[str, ...], *, terminal: bool = False
) -> list[str]:
    """The OpenSSH command to a server with a pinned host key. Nothing is trusted on first use, and the user's own SSH
    settings do not apply. `user` comes from the server: it is checked where it is parsed, and cannot become an option
    here. A command of one word is for the server's shell, as with ssh. Several words are a program and its arguments. A
    command gets a terminal only with `terminal`; a shell gets one if there is one here."""
    return [
        *_pinned(key, known_hosts),
        # A server that has just been started again answers a few seconds later.
        *("-o", "ConnectTimeout=5", "-o", "ConnectionAttempts=15"),
        *("-o", "ServerAliveInterval=15"),
        *(("-t",) if terminal else ()),
        "-l",
        user,
        "--",
        address,
        *((command[0] if len(command) == 1 else shlex.join(command),) if command else ()),
    ]


HOST_ALIAS = "server"
"""What a file of known hosts calls the server of `connecting_argv`."""


def connecting_argv(user: str, address: str, port: int, sockets: Sequence[tuple[str, str]]) -> list[str]:
    """The OpenSSH command that connects to a server with a pinned host key, forwards sockets here to sockets there, and
    takes what `shared_argv` and `port_forwarding_argv` ask for at the socket `control`. It asks nobody anything, and
    ends when the server has been silent for half a minute. All its files are in the folder where it is started."""
    settings = {
        "ControlMaster": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": "10",
        "ExitOnForwardFailure": "yes",
        "HostKeyAlias": HOST_ALIAS,
        "IdentityAgent": "none",
        "LogLevel": "ERROR",
        "PreferredAuthentications": "publickey",
        "ServerAliveCountMax": "3",
        "ServerAliveInterval": "10",
    }
    return [
        *_pinned(Path("key"), Path("known_hosts")),
        *(word for name, value in settings.items() for word in ("-o", f"{name}={value}")),
        *("-N", "-T", "-S", _CONTROL),
        *(word for here, there in sockets for word in ("-L", f"./{here}:{there}")),
        *("-p", str(port), "-l", user, "--", address),
    ]


def shared_argv(command: Sequence[str]) -> list[str]:
    """The OpenSSH command that runs a program on the server by the connection of `connecting_argv`, and by no other."""
    return [*_SHARED, "-T", "--", HOST_ALIAS, shlex.join(command)]


def sftp_argv() -> list[str]:
    """The same for the server's files."""
    return [*_SHARED, "-T", "-s", "--", HOST_ALIAS, "sftp"]


def port_forwarding_argv(here: str, port: int) -> list[str]:
    """The same: a socket here is forwarded to a port of the server's own."""
    return [*_SHARED, "-O", "forward", "-L", f"./{here}:localhost:{port}", "--", HOST_ALIAS]


_CONTROL = "./control"
_SHARED = ("ssh", "-F", "none", "-S", _CONTROL, "-o", "BatchMode=yes", "-o", "ProxyCommand=false")


def _pinned(key: Path, known_hosts: Path) -> list[str]:
    return [
        "ssh",
        "-F",
        "none",
        "-o",
        f"IdentityFile={file_option(key)}",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        f"UserKnownHostsFile={file_option(known_hosts)}",
        "-o",
        "GlobalKnownHostsFile=/dev/null",
        "-o",
        "StrictHostKeyChecking=yes",
    ]


def file_option(path: Path) -> str:
    """A file's path as OpenSSH reads it in an option: a space ends it, and a % begins a token."""
    text = str(path).replace("%", "%%")
    if re.fullmatch(r"[^\s\"'\\]+", text):
        return text
    return '"' + re.sub(r"([\"\\])", r"\\\1", text) + '"'
