"""What the host's other users can reach of a server: nothing. What its files are to the host's root: no programs of the
server's root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, until

pytestmark = pytest.mark.real

STRANGER = 54_321
"""The uid of a user of the host who has nothing to do with any cloud."""

# Prints what could be reached of the paths in its arguments: listed, read, written to, connected to, executed.
TRY = """
import json, os, socket, subprocess, sys
from contextlib import suppress
got = []
def reached(what, act):
    with suppress(OSError):
        act()
        got.append(what)
def connect(path):
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as link:
            link.connect(path)
def write(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
def touch(path):
    write(path + "/planted")
def walk(path):
    reached("list " + path, lambda: os.listdir(path))
    reached("write below " + path, lambda: touch(path))
    reached("pass " + path, lambda: os.stat(path + "/."))
    with suppress(OSError):
        for name in os.listdir(path):
            below = path + "/" + name
            if os.path.isdir(below) and not os.path.islink(below):
                walk(below)
for path in sys.argv[1:]:
    walk(path)
    reached("read " + path, lambda: open(path, "rb").read(1))
    reached("write " + path, lambda: write(path))
    reached("connect " + path, lambda: connect(path))
    reached("run " + path, lambda: subprocess.run([path, "true"], check=True))
print(json.dumps(got))
"""


def reached_by_a_stranger(*paths: Path) -> list[str]:
    """What a user without any rights reaches of these, and of what is below those that it can list."""
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", TRY, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        user=STRANGER,
        group=STRANGER,
        extra_groups=[],
    )
    found: list[str] = json.loads(done.stdout)
    return found


def runtime(server: Server) -> Path:
    return Path(f"/run/skylift/{server.cloud.number}/{server.id}")


@pytest.fixture(scope="module")
def server(own_cloud: RealCloud) -> Iterator[Server]:
    made = own_cloud.launch()
    made.with_volume()
    yield made
    made.terminate()


@pytest.fixture
def open_doors(own_cloud: RealCloud) -> Iterator[None]:
    """Directories above the state directory that everybody may pass, as those of a home directory often are."""
    base = own_cloud.home.path.parent
    before = base.stat().st_mode
    base.chmod(0o711)
    yield
    base.chmod(before)


def everything(directory: Path) -> list[Path]:
    """The paths below a directory as root sees them, without what is in a server's root."""
    found = []
    for folder, folders, files in os.walk(directory):
        found += [Path(folder, name) for name in (*folders, *files)]
        folders[:] = [name for name in folders if name not in ("root", "lower", "upper", "mount")]
    return found


@pytest.mark.usefixtures("open_doors")
def test_nothing_of_a_server_is_open_to_other_users_of_the_host(server: Server) -> None:
    server.ssh("sudo mkdir -p -m 1777 /var/tmp/open && sudo sh -c 'echo x >/mnt/sdf/file'")
    run = runtime(server)
    inside = ("etc/passwd", "var/tmp", "var/tmp/open", "tmp", "home/ec2-user", "dev/shm")
    roots = (run / "root", run / "lower", server.disk)
    paths = [
        *everything(run),
        run,
        run.parent / "volumes",
        *everything(run.parent / "volumes"),
        run.parent / "oci",
        *everything(run.parent / "oci"),
        run.parent / "exits",
        run.parent / "scratch",
        server.place,
        *everything(server.place),
        *(root / name for root in roots for name in inside),
    ]
    # They are there: what is refused is not refused for want of them.
    assert run / "config.json" in paths and run / "attach" in paths and (run / "root/etc/passwd").exists()
    assert any(path.name == "state.json" for path in paths)
    assert reached_by_a_stranger(*paths) == []
    # Whom a mistake in a directory above would let pass meets these.
    config = run / "config.json"
    assert (config.stat().st_uid, config.stat().st_mode & 0o777) == (0, 0o600)
    assert server.ssh("test -e /var/tmp/planted -o -e /tmp/planted", check=False).returncode == 1


def test_the_directories_that_all_servers_share_tell_nobody_their_names(server: Server) -> None:
    run = runtime(server).parent
    assert reached_by_a_stranger(run.parent, run) == [f"pass {run.parent}", f"pass {run}"]


def test_proc_is_no_way_in(server: Server) -> None:
    conmon = (runtime(server) / "conmon.pid").read_text()
    children = Path(f"/proc/{server.init}/task/{server.init}/children").read_text().split()
    pids = [str(server.init), conmon, *children]
    assert len(pids) > 2
    ways = ("root", "cwd", "fd", "map_files", "mem", "environ", "exe", "ns/mnt")
    tried = [Path("/proc", pid, way) for pid in pids for way in ways]
    # Their root as root sees it is the server's.
    assert os.readlink(f"/proc/{children[0]}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
    assert reached_by_a_stranger(*(path for path in tried if path.name != "environ")) == []
    assert not any(line.startswith(("read", "list", "write")) for line in reached_by_a_stranger(*tried))


def flags(server: Server) -> dict[str, set[str]]:
    """The options of each mount that the host has of the server, by its name."""
    done = subprocess.run(["findmnt", "--json", "-o", "TARGET,OPTIONS", "--list"], capture_output=True, check=True)
    run = runtime(server)
    volumes = [run.parent / "volumes" / one["VolumeId"] for one in attached(server)]
    wanted = {run / "root", run / "lower", *volumes}
    return {
        Path(entry["target"]).name: set(entry["options"].split(","))
        for entry in json.loads(done.stdout)["filesystems"]
        if Path(entry["target"]) in wanted
    }


def attached(server: Server) -> list[Any]:
    wanted = {"Filters": [{"Name": "attachment.instance-id", "Values": [server.id]}]}
    found: list[Any] = server.cloud.ec2.describe_volumes(**wanted)["Volumes"]
    return [one for one in found if one["Attachments"][0]["Device"] == "/dev/sdf"]


def is_closed(server: Server) -> bool:
    return all(options >= {"nosuid", "nodev"} for options in flags(server).values())


def assert_no_programs_for_the_host(server: Server) -> None:
    """Its mounts are nosuid and nodev as the host sees them, and are not as it sees its own root itself."""
    found = flags(server)
    assert len(found) == 2 + len(attached(server)), found
    assert is_closed(server), found
    server.ssh("sudo cp /usr/bin/env /var/tmp/env && sudo chmod 6755 /var/tmp/env")
    assert server.says("/var/tmp/env python3 -c 'import os; print(os.geteuid(), os.getegid())'") == "0 0"
    planted = runtime(server) / "root/var/tmp/env"
    asked = [planted, sys.executable, "-c", "import os; print(os.geteuid(), os.getegid())"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert done.stdout == f"{os.geteuid()} {os.getegid()}\n"


@pytest.mark.usefixtures("open_doors")
def test_a_setuid_program_made_inside_is_none_outside(server: Server) -> None:
    assert_no_programs_for_the_host(server)
    paths = [root / "var/tmp/env" for root in (runtime(server) / "root", server.disk)]
    assert all(path.stat().st_mode & 0o6000 for path in paths)
    assert reached_by_a_stranger(*paths) == []


def test_nor_after_a_reboot_or_another_start(server: Server) -> None:
    server.reboot()
    assert_no_programs_for_the_host(server)
    server.cloud.ec2.stop_instances(InstanceIds=[server.id])
    server.await_state("stopped")
    server.cloud.ec2.start_instances(InstanceIds=[server.id])
    server.await_way_in("its start")
    assert_no_programs_for_the_host(server)


@pytest.mark.usefixtures("open_doors")
def test_a_cloud_closes_what_an_earlier_process_left_open(server: Server) -> None:
    """It may have been killed right after it had a server made, or have been of a version that did not know better."""
    cloud, run = server.cloud, runtime(server)
    cloud.kill()
    for name in ("root", "lower"):
        subprocess.run(["mount", "-o", "remount,bind,suid,dev", str(run / name)], check=True)
    for directory in (run, run.parent / "oci", run.parent / "exits"):
        directory.chmod(0o711)
    (run / "config.json").chmod(0o644)
    cloud.up()
    # It answers before it has looked at its servers.
    until(lambda: is_closed(server), "the mounts to be closed again")
    assert_no_programs_for_the_host(server)
    assert reached_by_a_stranger(run, run / "config.json", run / "root/etc/passwd", run.parent / "oci") == []
