"""What tests make in the kernel without a cloud. Its names say which process made it, so that the next run of the tests
removes what a killed one has left.

Clouds are not among it: each has a guard beside it (cloud_guard.py).
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from skylift.cloud.compute.error import ComputeError
from skylift.cloud.compute.leftover import await_leftovers
from skylift.cloud.compute.network.namespace import remove_namespace
from skylift.cloud.compute.network.netlink import NAMESPACES
from skylift.cloud.compute.network.network import loopback_ranges, sweep
from skylift.cloud.compute.server import cgroup, freezer
from skylift.cloud.compute.server.server import HostKeys, Servers, find_programs, no_host_keys
from support.real_server import until
from support.shared_images import one_at_a_time

PREFIX = "skylift-test-"
RUN, LINKS = Path("/run"), Path("/sys/class/net")
NOBODYS = IPv4Network("198.51.100.0/24")
"""Addresses that nobody has (RFC 5737). Some tests give the host a rule that leads to one of them."""

_NAME = re.compile(rf"{PREFIX}([1-9][0-9]*)-[0-9a-f]{{8}}")
_LINK = re.compile(r"st([1-9][0-9]*)-[0-9a-f]{4}")


def own_name() -> str:
    """For a cgroup, a network namespace, a directory in /run with servers in it, or the home of a network."""
    return f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"


def link_to(namespace: str) -> str:
    """The host's end of a link to a namespace with such a name. The name of a link has 15 characters at most."""
    pid, mark = namespace.removeprefix(PREFIX).split("-")
    return f"st{pid}-{mark[:4]}"


def servers_in(
    name: str, disks: Path, on_exit: Callable[[str, int | None], None], host_keys: HostKeys = no_host_keys
) -> Servers:
    """Servers with a directory in /run and a cgroup of this name. They set the mode of the directory that theirs is in,
    too, and that must not be /run."""
    return Servers(RUN / name / "servers", disks, name, find_programs(), on_exit, host_keys)


def remove_servers(servers: Servers, name: str) -> None:
    servers.remove_all(grace=0)
    servers.remove_directory()
    servers.close()
    (RUN / name).rmdir()


def ending_with_us(*command: str) -> list[str]:
    """The command, as a process that the kernel kills when the thread ends that starts it."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *command]


@dataclass(frozen=True)
class Made:
    """Something in the kernel, and the process that made it."""

    pid: int
    name: str
    remove: Callable[[], None]

    @property
    def is_left(self) -> bool:
        return has_ended(self.pid)


def has_ended(pid: int) -> bool:
    """Also where nobody reaps it, as in a container without an init."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def remove_leftovers() -> None:
    """Remove what processes have left that are no more. Runs that begin at the same time do it one after the other.

    A run begins also where something cannot be removed, or not even listed; it says so.
    """
    with one_at_a_time(RUN / "skylift-tests"):
        # What a server holds is free once it is gone: a kind is listed when its turn comes.
        for kind in _KINDS:
            with _going_on(f"What killed tests have left may stay ({kind.__name__.lstrip('_')})"):
                for each in [made for made in kind() if made.is_left]:
                    with _going_on(f"A killed test has left {each.name}, which stays"):
                        each.remove()
        with _going_on("What killed tests have left may stay (rules)"):
            _remove_rules()


@contextmanager
def _going_on(otherwise: str) -> Iterator[None]:
    try:
        yield
    except (AssertionError, ComputeError, OSError, ValueError) as error:
        print(f"{otherwise}: {error}", file=sys.stderr)


def made_by_tests() -> list[Made]:
    """What there is now, also of processes that run."""
    return [each for kind in _KINDS for each in kind()]


def _servers() -> Iterator[Made]:
    for path in RUN.glob(f"{PREFIX}*"):
        if found := _NAME.fullmatch(path.name):
            yield Made(int(found[1]), str(path), partial(_remove_servers, path.name))


def _remove_servers(name: str) -> None:
    await_leftovers([RUN / name])
    # Their disks are in a directory of pytest's.
    remove_servers(servers_in(name, RUN / name, lambda *_: None), name)


def _cgroups() -> Iterator[Made]:
    for name in sorted({path.name for each in cgroup.hierarchies() for path in each.glob(f"{PREFIX}*")}):
        if found := _NAME.fullmatch(name):
            yield Made(int(found[1]), f"cgroup {name}", partial(_remove_cgroup, name))


def _remove_cgroup(name: str) -> None:
    with suppress(freezer.FreezeError):
        freezer.thaw(name)
    for pid in cgroup.processes(name):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not cgroup.processes(name), f"the processes of {name} to end", patience=10)
    cgroup.remove(name)


def _networks() -> Iterator[Made]:
    for each in loopback_ranges().all():
        home = Path(each.home)
        if found := _NAME.fullmatch(home.name):
            yield Made(int(found[1]), f"network of {home}", partial(_remove_network, home))


def _remove_network(home: Path) -> None:
    sweep(home)


def _links() -> Iterator[Made]:
    for path in LINKS.iterdir():
        if found := _LINK.fullmatch(path.name):
            yield Made(int(found[1]), f"link {path.name}", partial(_remove_link, path.name))


def _remove_link(name: str) -> None:
    """By itself it goes with its namespace, when the kernel finds time."""
    done = subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True, text=True)
    assert not (LINKS / name).exists(), done.stderr


def _namespaces() -> Iterator[Made]:
    """One that is being made at this moment is a file yet, and listed too."""
    for path in Path(NAMESPACES).glob(f"{PREFIX}*"):
        if found := _NAME.fullmatch(path.name):
            yield Made(int(found[1]), f"network namespace {path.name}", partial(remove_namespace, path.name))


_KINDS = (_servers, _cgroups, _networks, _links, _namespaces)


def _remove_rules() -> None:
    """A test gives a table its route before a rule leads there, and takes the rule first. So a rule that leads to an
    empty table was left, and the route has gone with the link."""
    if shutil.which("ip") is None:
        return
    for to, table in rules_to_nobody():
        if not _ip("route", "show", "table", table):
            subprocess.run(["ip", "rule", "delete", "to", to, "lookup", table], check=False)


def rules_to_nobody() -> list[tuple[str, str]]:
    """Address and table of each rule of the host's that leads to such an address."""
    found = [(str(each.get("dst")), str(each.get("table"))) for each in _ip("rule", "list")]
    return [(to, table) for to, table in found if _is_nobodys(to)]


def _is_nobodys(address: str) -> bool:
    try:
        return IPv4Address(address) in NOBODYS
    except ValueError:
        return False


def _ip(*words: str) -> list[dict[str, object]]:
    """What `ip` lists. A table that has never been used is an error there, and empty here."""
    said = subprocess.run(["ip", "-json", *words], check=False, capture_output=True, text=True).stdout
    return list(json.loads(said or "[]"))
