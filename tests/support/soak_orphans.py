"""What a cloud that is up, and has nothing on its way, has that nothing of its state accounts for, or lacks.

Both sides are read without any code of the product: the database by SQL, the rest from the kernel and the directory.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from skylift.cloud.compute.disk.removal import is_aside
from skylift.cloud.state.home import Home
from support.kernel_traces import processes_of

IN_HOME = {"cache", "credentials.json"}
IN_DATA = set(
    "boot captures cloud.json cloud.lock cloud.log cloud.log.1 home images.json instances lost+found models.json "
    "objects open.json seen snapshots state.db state.db-shm state.db-wal up.lock volumes".split()
)
UIDS = 65536


class Census:
    """One look at the state, to hold the rest against."""

    def __init__(self, home: Home, number: int) -> None:
        self._home = home
        self._number = number
        self._run = Path(f"/run/skylift/{number}")
        with closing(sqlite3.connect(f"file:{home.data.database}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT id, state, uid_base, vpc_id FROM instances").fetchall()
            self.damage = [
                str(row)
                for check in ("integrity_check", "foreign_key_check")
                for row in database.execute(f"PRAGMA {check}")
                if row != ("ok",)
            ]
            self._running = {row[0]: row[3] for row in rows if row[1] == "running"}
            self._kept = {row[0] for row in rows if row[1] != "terminated"}
            self._uids = {row[0]: row[2] for row in rows}
            self._vpcs = {row[0] for row in database.execute("SELECT id FROM vpcs")}
            self._interfaces = {
                row[0]: row[1]
                for row in database.execute("SELECT id, instance_id FROM network_interfaces WHERE instance_id NOT NULL")
            }
            self._roots = {
                row[0] for row in database.execute("SELECT root FROM images UNION SELECT root FROM snapshots")
            }
            self._volumes = {row[0] for row in database.execute("SELECT id FROM volumes")}
            self._in_servers = {
                volume
                for volume, instance in database.execute("SELECT id, instance_id FROM volumes")
                if instance in self._running
            }
            self._snapshots = {row[0] for row in database.execute("SELECT id FROM snapshots WHERE of_root = 0")}
            extents = [
                extent
                for table in ("objects", "parts")
                for (text,) in database.execute(f"SELECT extents FROM {table}")
                for extent in json.loads(text)
            ]
            self._files = {extent["file"] for extent in extents if extent["file"]}
            self._rows = {str(extent["row"]) for extent in extents if not extent["file"]}
            self._bodies = {str(row[0]) for row in database.execute("SELECT id FROM small_bodies")}

    def complaints(self) -> list[str]:
        return [
            *(f"database: {line}" for line in self.damage),
            *_compared("directories of running servers", set(self._running), self._bundles()),
            *_compared("servers of the runtime", set(self._running), _names(self._run / "oci")),
            *_compared("exit files", set(), _names(self._run / "exits")),
            *_compared("servers with mounts", set(self._running), set(self._mounts()) - {"lxcfs"}),
            *_compared("servers with cgroups", set(self._running), self._groups()),
            *_compared("servers with a monitor", set(self._running), set(self._monitors())),
            *_compared("ended servers with processes", set(), self._undead()),
            *_compared("routers", {*self._vpcs, "edge"}, self._namespaces()),
            *_compared("links of servers", self._links(), self._plugged()),
            *_compared("disks", self._kept, _names(self._home.data.instances)),
            *_compared("mounted volumes", self._in_servers, _names(self._run / "volumes")),
            *_compared("volumes with loop devices", self._in_servers, set(self._looped())),
            *_compared("volumes", self._volumes, _stems(self._home.data.volumes) - {"empty"}),
            *_compared("snapshots", self._snapshots, _stems(self._home.data.snapshots)),
            *_compared("files of objects", self._files, _names(self._home.data.objects)),
            *_compared("small bodies", self._rows, self._bodies),
            *_compared("root directories of images", self._captured(), _names(self._home.data.captures)),
            *_compared("state directory", set(), _names(self._home.path) - IN_HOME),
            *_compared("data directory", set(), _names(self._home.data.path) - IN_DATA),
            *_compared("half a range file", set(), {path.name for path in self._run.parent.glob("claims/.*.new")}),
        ]

    def _bundles(self) -> set[str]:
        return _names(self._run) - {"oci", "exits", "volumes", "scratch", "lxcfs", "firmware", "been-up"}

    def _mounts(self) -> Iterator[str]:
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            place = Path(line.split(" ")[4])
            if place.is_relative_to(self._run) and not place.is_relative_to(self._run / "volumes"):
                yield place.relative_to(self._run).parts[0]

    def _looped(self) -> Iterator[str]:
        for path in Path("/sys/block").glob("loop*/loop/backing_file"):
            with suppress(OSError):
                # It may be let go of at this moment.
                file = Path(path.read_text().strip())
                if file.parent == self._home.data.volumes.resolve():
                    yield file.stem

    def _groups(self) -> set[str]:
        top = Path("/sys/fs/cgroup")
        found = [*top.glob(f"skylift/{self._number}/*/"), *top.glob(f"*/skylift/{self._number}/*/")]
        return {path.name for path in found if not path.is_symlink()}

    def _monitors(self) -> Iterator[str]:
        """The conmon of each server, and any program that works on one now."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().decode(errors="replace").split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if any(word.startswith(f"{self._run}/") for word in words) and "--cid" in words:
                yield words[words.index("--cid") + 1]

    def _undead(self) -> set[str]:
        """A range is given to another server once its last one has ended."""
        taken = {self._uids[instance] for instance in self._running}
        left = {base: instance for instance, base in self._uids.items() if base not in taken}
        return {instance for base, instance in left.items() if processes_of(range(base, base + UIDS))}

    def _namespaces(self) -> set[str]:
        prefix = f"skylift-{self._number}-"
        return {path.name.removeprefix(prefix) for path in Path("/run/netns").glob(f"{prefix}*")}

    def _links(self) -> set[str]:
        return {_link(interface) for interface, instance in self._interfaces.items() if instance in self._running}

    def _plugged(self) -> set[str]:
        found = set()
        for name in self._namespaces() - {"edge"}:
            command = ["ip", "-n", f"skylift-{self._number}-{name}", "-brief", "link"]
            # One that is going at this moment has none, and is told of where routers are.
            said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            links = (line.split()[0].partition("@")[0] for line in said.splitlines())
            found |= {link for link in links if link.startswith("e")}
        return found

    def _captured(self) -> set[str]:
        roots = (Path(root) for root in self._roots if root)
        return {root.parent.name for root in roots if root.is_relative_to(self._home.data.captures)}


def _link(interface: str) -> str:
    return "e" + interface.rpartition("-")[2][-14:]


def _names(directory: Path) -> set[str]:
    """Without what is still to be deleted."""
    return {path.name for path in directory.iterdir() if not is_aside(path)} if directory.is_dir() else set()


def _stems(directory: Path) -> set[str]:
    return {name.removesuffix(".img") for name in _names(directory)}


def _compared(what: str, wanted: set[str], found: set[str]) -> Iterator[str]:
    if more := found - wanted:
        yield f"{what}: nothing accounts for {', '.join(sorted(more))}"
    if missing := wanted - found:
        yield f"{what}: {', '.join(sorted(missing))} not there"
