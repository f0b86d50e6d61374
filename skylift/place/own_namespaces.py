"""A cloud without root: in a user, a mount and a network namespace of the user's own, where they are root.

One process holds them, and a pasta joins their network to the machine's. Each command of the user enters them.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import select
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from skylift.client.errors import UsageError
from skylift.cloud.state.home import DEFAULT_PORT, Home
from skylift.cloud.state.program import find_program, own_environment
from skylift.cloud.state.rootless import MARK, STORED, UIDS

DIFFERENCES = """\
This cloud runs without root, in namespaces of your own:
- Its servers share one range of ids, and any process of yours may change them.
- Nothing limits their memory, processors, processes and disks, except what limits you.
- Volumes, snapshots and images of servers are refused.
- What is to reach servers, forwarded ports or the console is started with: skylift cloud enter PROGRAM"""

# A profile that denies nothing: this is how AppArmor tells programs that may have namespaces from others.
_ALLOW = """\
An administrator may have switched them off: user.max_user_namespaces, kernel.unprivileged_userns_clone.
Or AppArmor restricts them, as on Ubuntu, and an administrator can allow them to unshare:
  echo 'abi <abi/4.0>, profile skylift-unshare /usr/bin/unshare flags=(unconfined) { userns, }' \
>/etc/apparmor.d/skylift-unshare && apparmor_parser --replace /etc/apparmor.d/skylift-unshare"""

_TUN = "/dev/net/tun"
_NAME_SERVER = "169.254.2.53"

# A /run of its own, in which the machine's is still to be found, but not what root's clouds have there. pasta passes
# questions on to the machine's name server, which may listen on the machine's loopback only.
# Servers are in none of the user's other groups.
_HOLD = f"""
setpriv --clear-groups test -x "$0" || exec echo closed
umask 022 && mount -t tmpfs -o mode=755 skylift /mnt && mkdir /mnt/.machine /mnt/netns /mnt/skylift &&
mount --rbind /run /mnt/.machine && mount --move /mnt /run && echo "$0" >{MARK} || exit
cd /run/.machine && for each in *; do test -e "/run/$each" || ln -s ".machine/$each" /run/; done
sed 's/^nameserver .*/nameserver {_NAME_SERVER}/' /etc/resolv.conf >/run/resolv.conf &&
mount --bind /run/resolv.conf /etc/resolv.conf && echo made && exec sleep infinity
"""


def choose(home: Home) -> bool:
    """Have this cloud run without root. False if it does already. Raises UsageError with what is in the way."""
    if home.is_rootless:
        return False
    if os.geteuid() == 0:
        raise UsageError("A cloud without root is for a user who is not root.")
    if home.data.path.exists():
        raise UsageError(f"{home.path} has a cloud of root's.", "Take it down first: skylift cloud down --erase")
    home.holder.touch(0o600)
    try:
        make(home)
    except UsageError:
        home.holder.unlink()
        raise
    return True


def make(home: Home) -> None:
    """Make the namespaces, unless they are there. Raises UsageError with what an administrator has to do."""
    with home.holder.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if _pid(home) is None:
            pid = _hold(home)
            file.truncate()
            file.write(str(pid))


def way_in(home: Home) -> list[str]:
    """Begins a command that runs in the namespaces of this cloud; empty where there are none."""
    if (pid := _pid(home)) is None:
        return []
    kinds = ("--user", "--net", "--mount")
    return ["nsenter", f"--target={pid}", *kinds, "--preserve-credentials", f"--wdns={Path.cwd()}", "--"]


def end(home: Home, *, erase: bool) -> None:
    """End the namespaces, which this process is in, and pasta, so that the port is free at once."""
    from skylift.cloud.compute.image.image import remove_tree

    pid, pasta = _pid(home), home.path / "pasta"
    if erase:
        # Outside it cannot be deleted: files of servers and images have other owners.
        remove_tree(home.data.images.parent)
        home.holder.unlink()
    for number in [pid, int(pasta.read_text())] if pid else []:
        with suppress(OSError):
            if number == pid or bytes(pasta) in Path(f"/proc/{number}/cmdline").read_bytes():
                os.kill(number, signal.SIGKILL)
    pasta.unlink(missing_ok=True)


def _pid(home: Home) -> int | None:
    """The process that holds them. What the file says is believed of a process of the user's with the mark in its /run.
    A program in a server may have both that number and such a file, but it has another id."""
    try:
        pid = int(home.holder.read_text())
        process = Path("/proc", str(pid))
        mine = process.stat().st_uid == os.geteuid() and (process / f"root{MARK}").read_text() == f"{home.path}\n"
        return pid if mine else None
    except (OSError, ValueError):
        return None


def _hold(home: Home) -> int:
    """Other programs find the endpoint at its usual port, unless that is taken."""
    from skylift.cloud.compute.capability import LOCALHOST, port_free

    command = ["unshare", "--user", "--mount", "--net", "--propagation=private", *_ids("user"), *_ids("group")]
    command += ["sh", "-c", _HOLD, str(home.path)]
    null, pipe, own = subprocess.DEVNULL, subprocess.PIPE, own_environment()
    holder = subprocess.Popen(command, stdin=null, stdout=pipe, stderr=pipe, env=own, start_new_session=True)
    assert holder.stdout and holder.stderr
    ended = os.pidfd_open(holder.pid)
    select.select([holder.stdout.fileno(), ended], [], [])
    os.close(ended)
    if holder.poll() is not None:
        # A child that maps the ids outlives an unshare that is refused, and has the pipes.
        with suppress(ProcessLookupError):
            os.killpg(holder.pid, signal.SIGKILL)
    said = holder.stdout.readline()
    if said == b"closed\n":
        raise UsageError(
            f"{home.path} is open to you by a group besides your first one, and servers are in no such group.",
            "Set SKYLIFT_HOME to a directory outside of what is that group's.",
        )
    if said != b"made\n":
        raise UsageError(f"Namespaces cannot be made: {holder.stderr.read().decode(errors='replace').strip()}", _ALLOW)
    ports = f"{LOCALHOST}/{DEFAULT_PORT}" if port_free(DEFAULT_PORT) else "none"
    command = ["pasta", "--config-net", "--no-map-gw", "--dns-forward", _NAME_SERVER, "--tcp-ports", ports]
    command += ["--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none", "--pid", str(home.path / "pasta")]
    # Older ones do not know the last option, and do so by themselves.
    for more in (["--host-lo-to-ns-lo"], []):
        done = _run(*command, *more, str(holder.pid))
        if done.returncode == 0:
            return holder.pid
    holder.kill()
    raise UsageError(f"pasta cannot join a network of yours to the machine's: {done.stderr.strip()}")


def _ids(kind: str) -> list[str]:
    """The options of unshare(1): the user is root in there, and servers have the ids that /etc/subuid has for them."""
    if not os.access(_TUN, os.R_OK | os.W_OK):
        raise UsageError(f"{_TUN} is not open to you.", f"An administrator can: chmod 666 {_TUN}")
    file, option = ("subuid", []) if kind == "user" else ("subgid", ["-g"])
    if not all(map(find_program, ("newuidmap", "newgidmap", "getsubids", "pasta"))):
        raise UsageError("newuidmap or pasta is not here.", "An administrator can: apt-get install uidmap passt")
    name = pwd.getpwuid(os.geteuid()).pw_name
    # `0: NAME 100000 65536`
    ranges = [line.split() for line in _run("getsubids", *option, name).stdout.splitlines()]
    first = next((words[2] for words in ranges if int(words[3]) >= UIDS), None)
    if first is None:
        raise UsageError(
            f"/etc/{file} has no {UIDS} ids for {name}.",
            f"An administrator can add a line with ids of nobody else: {name}:FIRST:{UIDS}",
        )
    # Debian 12's takes one range, and only in this order.
    return [f"--map-{kind}=0", f"--map-{kind}s={first},{STORED},{UIDS}"]


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, env=own_environment())
