"""What EC2's status checks say of a server that does not answer any more, and what is mended before they have to."""

from __future__ import annotations

import os
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, ending, until

from skylift.cloud.compute.network.traffic import link_name
from skylift.cloud.compute.server.lxcfs import FUSE, SHARED

pytestmark = pytest.mark.real

SLOW = 240.0
"""Seconds: two looks are twenty, on a machine that has nothing else to do."""


@pytest.fixture(scope="module")
def server(own_cloud: RealCloud) -> Server:
    return own_cloud.launch()


def within(server: Server, script: str) -> None:
    """As the server's root, whether or not it answers."""
    subprocess.run(["nsenter", f"--target={server.init}", "--all", "--", "sh", "-c", script], check=True)


def checks(server: Server) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the instance's check and the system's say."""
    (found,) = server.cloud.ec2.describe_instance_status(InstanceIds=[server.id])["InstanceStatuses"]
    return found["InstanceStatus"], found["SystemStatus"]


def say(server: Server, own: str, system: str = "ok") -> bool:
    return (own, system) == tuple(each["Status"] for each in checks(server))


def until_ok(server: Server) -> None:
    until(lambda: say(server, "ok"), "both checks to pass", SLOW, lambda: checks(server), pause=0.5)


@pytest.mark.parametrize(
    ("blow", "mend", "why"),
    [
        ("kill -STOP $(cat /run/sshd.pid)", "kill -CONT $(cat /run/sshd.pid)", "sshd is stopped"),
        ("kill -STOP $(cat /run/skylift/init.pid)", "kill -CONT $(cat /run/skylift/init.pid)", "init is stopped"),
        (
            "mv /usr/sbin/sshd /usr/sbin/sshd-away; kill $(cat /run/sshd.pid)",
            "mv /usr/sbin/sshd-away /usr/sbin/sshd",
            "sshd does not run",
        ),
    ],
)
def test_a_server_that_does_not_answer_is_impaired(server: Server, blow: str, mend: str, why: str) -> None:
    began = datetime.now(UTC) - timedelta(seconds=1)
    within(server, blow)
    until(lambda: say(server, "impaired"), "the instance's check to fail", SLOW, lambda: checks(server), pause=0.5)
    (detail,) = checks(server)[0]["Details"]
    assert (detail["Name"], detail["Status"]) == ("reachability", "failed")
    assert began <= detail["ImpairedSince"] <= datetime.now(UTC)
    assert server.describe()["StateReason"]["Message"].endswith(f"Status check failed: {why}")
    assert server.state == "running"
    within(server, mend)
    until_ok(server)
    assert server.says("echo here") == "here"


def test_a_server_whose_shutdown_has_come_to_nothing_is_impaired_until_its_reboot(server: Server) -> None:
    within(server, "touch /run/skylift/stopping; kill $(cat /run/sshd.pid)")
    until(lambda: say(server, "impaired"), "the instance's check to fail", SLOW, lambda: checks(server), pause=0.5)
    server.cloud.ec2.reboot_instances(InstanceIds=[server.id])
    server.await_way_in("SSH after the reboot")
    assert say(server, "ok")


def test_a_link_that_is_taken_away_is_plugged_in_again(server: Server) -> None:
    (interface,) = server.describe()["NetworkInterfaces"]
    router = f"skylift-{server.cloud.number}-{interface['VpcId']}"
    link = link_name(interface["NetworkInterfaceId"], "e")
    subprocess.run(["ip", "-n", router, "link", "delete", link], check=True)
    until(lambda: server.ssh("true", check=False).returncode == 0, "SSH", SLOW)
    until_ok(server)


def test_namespaces_that_go_while_the_cloud_is_down_are_there_again(server: Server) -> None:
    cloud = server.cloud
    cloud.kill()
    names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()
    ours = [name for name in names if name.startswith(f"skylift-{cloud.number}-")]
    assert len(ours) == 2, names
    for name in ours:
        subprocess.run(["ip", "netns", "delete", name], check=True)
    cloud.up()
    until(lambda: server.ssh("true", check=False).returncode == 0, "SSH", SLOW)
    assert server.says("curl -sS -o /dev/null -w '%{http_code}' http://169.254.169.254/latest/") == "401"
    until_ok(server)


@pytest.mark.skipif(not FUSE.exists() or SHARED.is_mount(), reason="this cloud has no lxcfs of its own")
def test_a_server_reads_its_size_again_soon_after_lxcfs_was_killed(server: Server) -> None:
    read = "awk '/MemTotal/ {print $2}' /proc/meminfo"
    assert server.says(read) == str(1 << 20)
    with ending(int(Path(f"/run/skylift/{server.cloud.number}/lxcfs/pid").read_text())) as process:
        signal.pidfd_send_signal(process, signal.SIGKILL)
    until(lambda: server.ssh(read, check=False).stdout.strip() == str(1 << 20), "its size", SLOW)
    assert server.says("nproc; cat /proc/uptime /proc/loadavg | wc -l").split() == ["2", "2"]
    # One that comes now has it as well.
    other = server.cloud.launch()
    assert other.says(read) == str(1 << 20)
    other.terminate()
    assert say(server, "ok")


@pytest.mark.skipif(not FUSE.exists() or SHARED.is_mount(), reason="this cloud has no lxcfs of its own")
def test_a_server_waits_for_no_lxcfs_that_stands_still(server: Server) -> None:
    read = "awk '/MemTotal/ {print $2}' /proc/meminfo"
    os.kill(int(Path(f"/run/skylift/{server.cloud.number}/lxcfs/pid").read_text()), signal.SIGSTOP)
    assert server.says(f"until {read}; do sleep 1; done") == str(1 << 20)
    until_ok(server)
