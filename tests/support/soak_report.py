"""What there is to be seen of a server that is not as it should be: a fault that shows once in a thousand kills has to
say all of itself that time."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from support.real_cloud import RealCloud

LINES = 200
"""The most of any one part."""


def report(cloud: RealCloud, described: dict[str, Any]) -> str:
    """Each part is looked at by itself: one that cannot be had says why."""
    return "\n".join(f"----- {name}\n{text}" for name, text in _parts(cloud, described))


def _parts(cloud: RealCloud, described: dict[str, Any]) -> Iterator[tuple[str, str]]:
    instance, address = described["InstanceId"], described.get("PublicIpAddress", "")
    run, disk = Path(f"/run/skylift/{cloud.number}"), cloud.home.data.instances / instance
    yield "described", json.dumps(described, default=str)
    for table, key in (("instances", "id"), ("network_interfaces", "instance_id")):
        yield f"rows of {table}", _rows(cloud.home.data.database, f"SELECT * FROM {table} WHERE {key} = '{instance}'")
    yield "the cloud's log", _grep(f"{instance}|WARNING|ERROR|Traceback|Error:", cloud.home.data.log)
    yield "console", _tail(disk / "console.log")
    yield "sshd's log", _tail(run / instance / "root/var/log/sshd.log")
    yield "greets with", _said("bash", "-c", f"exec 3<>/dev/tcp/{address}/22 && timeout 5 head -n 1 <&3")
    yield "runtime", _said("runc", "--root", str(run / "oci"), "list")
    yield "programs at work on it", _said("pgrep", "-af", instance)
    yield "what it has under /run", _said("ls", "-la", str(run / instance))
    yield "mounts", _grep(instance, Path("/proc/self/mountinfo"))
    init = _said("cat", str(run / instance / "init.pid"))
    inside = ("nsenter", "--target", init)
    yield "processes", _said(*inside, "--mount", "--pid", "ps", "axfo", "pid,stat,wchan:20,args")
    yield from _network("it", *inside, "--net")
    for namespace in (f"skylift-{cloud.number}-edge", f"skylift-{cloud.number}-{described.get('VpcId', '')}"):
        yield from _network(namespace, "ip", "netns", "exec", namespace)
        yield f"{namespace}: rules", _said("ip", "netns", "exec", namespace, "nft", "list", "ruleset")
    yield from _network("the host")
    yield "the host: rules", _said("nft", "list", "table", "ip", f"skylift_{cloud.number}")


def select(database: Path, statement: str) -> list[dict[str, Any]]:
    """Rows of the cloud's store, beside the cloud."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(statement)]


def _rows(database: Path, statement: str) -> str:
    return "\n".join(map(json.dumps, select(database, statement)))


def _network(whose: str, *inside: str) -> Iterator[tuple[str, str]]:
    for what in ("address", "route", "neighbour"):
        yield f"{whose}: ip {what}", _said(*inside, "ip", "-4", what)


def _grep(pattern: str, file: Path) -> str:
    return _said("grep", "-E", pattern, str(file))


def _tail(file: Path) -> str:
    return _said("tail", "-n", str(LINES), str(file))


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        return str(error)
    lines = f"{done.stdout}{done.stderr}".strip().splitlines()
    return "\n".join(lines[-LINES:])
