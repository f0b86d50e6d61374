"""What a cloud has in the kernel of this machine, looked up without any code of the product."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

UIDS = 65536


def traces(number: int, home: Path) -> list[str]:
    """One line each for whatever the cloud of this state directory, with the addresses 127.NUMBER.x.y, has now.

    A cloud that is down gives its number back, and another process of these tests may have taken it: then what bears
    only the number is that one's.
    """
    before = _has_number(number)
    data = _data_of(home)
    found = [
        *_processes(number, home, data),
        *_mounts(number, home, data),
        *_loop_devices(home, data),
        *_namespaces(number),
        *_cgroups(number),
        *_network(number),
        *_files(number),
    ]
    if {before, _has_number(number)} <= {None, str(home.resolve())}:
        return found
    return [line for line in found if str(home) in line or f"{data}/" in line]


def _data_of(home: Path) -> Path:
    """Where root has the data of this state directory's cloud; of one that has none, somewhere that is not there and
    whose path no process has in its command line."""
    for origin in Path(os.environ["SKYLIFT_DATA"]).glob("*/*/home"):
        # A neighbour's may go at this moment, with the disk that a test has given it.
        with suppress(OSError):
            if origin.read_text() == f"{home}\n":
                return origin.parent
    return home / "no data"


def _has_number(number: int) -> str | None:
    """The state directory of the cloud that has it."""
    try:
        home: str = json.loads(Path(f"/run/skylift/claims/{number}").read_text())["home"]
    except FileNotFoundError:
        return None
    return home


def processes_of(uids: range) -> list[int]:
    """Pids whose real uid is one of these."""
    return [pid for pid, uid in _uids() if uid in uids]


def _processes(number: int, home: Path, data: Path) -> Iterator[str]:
    ranges = [range(base, base + UIDS) for base in _uid_bases(data)]
    marks = (str(home), f"{data}/", f"/run/skylift/{number}/", f"skylift-{number}-")
    for pid, uid in _uids():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            groups = Path(f"/proc/{pid}/cgroup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if _is_of_another(groups, number, home):
            # A cloud keeps its servers' uids when it moves to another number, and the next one with the old number
            # gives them as well.
            continue
        ours = uid == 2_000_000_000 + number or any(uid in each for each in ranges)
        if ours or f"/skylift/{number}/" in groups or any(mark in command for mark in marks):
            yield f"process {pid}, uid {uid}: {command}"


def _is_of_another(groups: str, number: int, home: Path) -> bool:
    found = re.search(r"/skylift/(\d+)/", groups)
    return (
        found is not None and int(found[1]) != number and _has_number(int(found[1])) not in (None, str(home.resolve()))
    )


def _uids() -> Iterator[tuple[int, int]]:
    """Every process that has not ended, with its real uid."""
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            status = dict(line.split(":\t", 1) for line in (path / "status").read_text().splitlines())
        except (FileNotFoundError, ProcessLookupError):
            continue
        if not status["State"].startswith("Z"):
            yield int(path.name), int(status["Uid"].split()[0])


def _uid_bases(data: Path) -> list[int]:
    """The uid ranges that this cloud has given to its servers, the ended ones too."""
    database = data / "state.db"
    if not database.exists():
        return []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return [base for (base,) in connection.execute("SELECT uid_base FROM instances")]


def _mounts(number: int, home: Path, data: Path) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if (
            str(home) in line
            or f"{data}/" in line
            or f"/run/skylift/{number}/" in line
            or f"/skylift-{number}-" in line
        ):
            yield f"mount {line}"


def _loop_devices(home: Path, data: Path) -> Iterator[str]:
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            file = path.read_text().strip()
        except OSError:
            # It has gone since it was listed.
            continue
        if file.startswith((f"{home}/", f"{data}/")):
            yield f"loop device {path.parents[1].name}: {file}"


def _namespaces(number: int) -> Iterator[str]:
    for path in sorted(Path("/run/netns").glob(f"skylift-{number}-*")):
        yield f"network namespace {path.name}"


def _cgroups(number: int) -> Iterator[str]:
    top = Path("/sys/fs/cgroup")
    for folder in (top, *(each for each in top.iterdir() if each.name != "skylift")):
        # Of version 2, or a hierarchy of version 1. Those of other clouds come and go.
        place = folder / "skylift" / str(number)
        if place.exists():
            yield f"cgroup {place}"


def _network(number: int) -> Iterator[str]:
    looks = (
        (["nft", "list", "tables"], f"skylift_{number}"),
        (["ip", "-brief", "link"], f"sky{number}"),
        (["ip", "-4", "-oneline", "address"], f"127.{number}."),
        (["ip", "-4", "route", "show", "table", "all"], f"240.{number}."),
        (["ip", "-4", "neighbour"], f"sky{number}"),
    )
    for command, mark in looks:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for line in said.splitlines():
            words = line.replace("@", " ").split()
            if any(word == mark or (mark.endswith(".") and word.startswith(mark)) for word in words):
                yield f"{command[0]}: {line}"


def _files(number: int) -> Iterator[str]:
    for path in (Path(f"/run/skylift/{number}"), Path(f"/run/skylift/claims/{number}")):
        if path.exists():
            yield f"file {path}"
