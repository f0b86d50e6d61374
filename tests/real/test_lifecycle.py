"""A server's life as its owner and its own root decide it: shutdown, reboot, terminate, and requests that repeat."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from support.real_cloud import RealCloud
from support.real_server import Server

from skylift.cloud.wire.transition_wait import PATIENCE

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("ending")]


@pytest.fixture(scope="module")
def server(cloud: RealCloud) -> Iterator[Server]:
    """One that stays, whatever tests do to it."""
    made = cloud.launch()
    yield made
    made.terminate()


@pytest.fixture
def known(cloud: RealCloud, ending: Server) -> Known:
    return Known(cloud, ending)


def test_whoever_asks_for_it_by_its_id_waits_a_moment(cloud: RealCloud) -> None:
    """AWS's waiters look once, and sleep for 15 s where a server is not there yet."""
    server = cloud.start()
    for state in ("running", "terminated"):
        seen = ""
        while seen != state:
            began = time.monotonic()
            seen = server.state
            # Whoever is told that it is still on its way has been kept for as long as anybody is.
            assert seen == state or time.monotonic() - began >= PATIENCE
        cloud.ec2.terminate_instances(InstanceIds=[server.id])


class Known:
    """What there is in the cloud, but for the server that may end at any moment."""

    def __init__(self, cloud: RealCloud, ending: Server) -> None:
        self._cloud = cloud
        self._ending = ending.id

    @property
    def instances(self) -> dict[str, str]:
        """Every instance that EC2 remembers, with its state."""
        found = self._cloud.ec2.describe_instances()["Reservations"]
        states = {one["InstanceId"]: one["State"]["Name"] for each in found for one in each["Instances"]}
        return {name: state for name, state in states.items() if name != self._ending}

    @property
    def parts(self) -> set[str]:
        """Network interfaces and volumes, but for those of instances that have just ended: they are being removed."""
        interfaces = self._cloud.ec2.describe_network_interfaces()["NetworkInterfaces"]
        volumes = self._cloud.ec2.describe_volumes()["Volumes"]
        gone: list[list[str]] = [[], [self._ending]]
        return {
            *(one["NetworkInterfaceId"] for one in interfaces if one["Attachment"]["InstanceId"] != self._ending),
            *(one["VolumeId"] for one in volumes if [at["InstanceId"] for at in one["Attachments"]] not in gone),
        }

    @property
    def structures(self) -> list[str]:
        """What is in the kernel, but for processes, which come and go by themselves."""
        found = self._cloud.traces()
        return [line for line in found if self._ending not in line and not line.startswith("process ")]


def reason(server: Server) -> str:
    return str(server.describe()["StateReason"]["Code"])


def test_shutdown_inside_terminates_where_that_was_asked_for(cloud: RealCloud) -> None:
    server = cloud.launch(InstanceInitiatedShutdownBehavior="terminate")
    assert server.disk.exists() and server.place.exists()
    server.ssh("sudo shutdown -h now", check=False)
    server.await_state("terminated")
    assert reason(server) == "Client.InstanceInitiatedShutdown"
    assert not server.place.exists()
    assert "PublicIpAddress" not in server.describe()
    assert [line for line in cloud.traces() if server.id in line] == []
    assert "END SSH HOST KEY KEYS" in server.console


def test_poweroff_inside_stops_otherwise_and_the_disk_stays(cloud: RealCloud) -> None:
    server = cloud.launch()
    server.ssh("echo kept >~/file && sudo poweroff", check=False)
    server.await_state("stopped")
    assert reason(server) == "Client.InstanceInitiatedShutdown"
    assert server.kept("home/ec2-user/file") == "kept\n"
    assert [line for line in cloud.traces() if server.id in line] == []
    assert "PublicIpAddress" not in server.describe()
    server.terminate()
    assert not server.place.exists()


def test_a_shutdown_for_later_can_be_cancelled(server: Server) -> None:
    server.ssh("sudo shutdown -P +60 'in an hour'")
    assert "power" in server.says("sudo shutdown --show").lower()
    server.ssh("sudo shutdown -c")
    assert server.says("sudo shutdown --show") == "No shutdown is scheduled."
    assert server.state == "running"


def test_only_its_root_may_shut_it_down(server: Server) -> None:
    done = server.ssh("shutdown now; poweroff; reboot", check=False)
    assert done.returncode != 0
    assert done.stderr.count("only root may do this") == 3
    assert server.says("true") == ""


@pytest.mark.parametrize("command", ["sudo reboot", "sudo shutdown -r now"])
def test_a_reboot_inside_keeps_all_but_what_was_in_memory(server: Server, command: str) -> None:
    before = server.describe()
    word = secrets.token_hex(8)
    server.ssh(f"echo {word} >~/word && sync")
    keys = server.says("cat /etc/ssh/ssh_host_ed25519_key.pub")
    server.reboot(command)
    after = server.describe()
    kept = ("InstanceId", "PrivateIpAddress", "PublicIpAddress", "LaunchTime", "ImageId", "SubnetId")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert after["State"]["Name"] == "running"
    assert server.says("cat ~/word") == word
    assert server.says("cat /etc/ssh/ssh_host_ed25519_key.pub") == keys
    assert server.says(f"ip -4 -brief address show eth0 | grep -c {before['PrivateIpAddress']}/") == "1"


def test_terminate_takes_everything_that_came_with_it(cloud: RealCloud, known: Known) -> None:
    before = known.parts
    server = cloud.launch()
    assert len(known.parts - before) == 2
    answer = cloud.ec2.terminate_instances(InstanceIds=[server.id])["TerminatingInstances"][0]
    assert (answer["PreviousState"]["Name"], answer["CurrentState"]["Name"]) == ("running", "shutting-down")
    server.await_state("terminated")
    assert known.parts == before
    assert not server.place.exists()
    assert [line for line in cloud.traces() if server.id in line] == []


def test_a_server_that_will_not_go_is_taken_down(cloud: RealCloud) -> None:
    """Terminate asks first, and pulls the plug when nothing comes of it."""
    server = cloud.launch(UserData="#!/bin/sh\ntrap '' TERM INT HUP\nwhile :; do sleep 1000; done\n")
    server.ssh("sudo rm /usr/sbin/shutdown")
    server.terminate()
    assert not server.place.exists()


def test_a_client_token_makes_one_server_of_many_requests(cloud: RealCloud, known: Known) -> None:
    token = secrets.token_hex(8)
    before = known.instances.keys()
    first = cloud.launch(ClientToken=token)
    again = cloud.start(ClientToken=token)
    assert again.id == first.id
    with pytest.raises(ClientError) as refusal:
        cloud.start(ClientToken=token, InstanceType="t3.small")
    assert refusal.value.response["Error"]["Code"] == "IdempotentParameterMismatch"
    assert known.instances.keys() - before == {first.id}
    first.terminate()


def test_a_dry_run_leaves_nothing(cloud: RealCloud, server: Server, known: Known) -> None:
    before = known.instances, known.parts, known.structures
    dry: list[tuple[str, dict[str, Any]]] = [
        ("run_instances", cloud.request()),
        ("terminate_instances", {"InstanceIds": [server.id]}),
        ("create_key_pair", {"KeyName": "dry"}),
        ("create_vpc", {"CidrBlock": "10.1.0.0/16"}),
    ]
    for operation, parameters in dry:
        with pytest.raises(ClientError) as refusal:
            getattr(cloud.ec2, operation)(**parameters, DryRun=True)
        assert refusal.value.response["Error"]["Code"] == "DryRunOperation"
    # What is in the kernel follows what was asked for; by the time of a look at the server it would have.
    assert server.says("echo here") == "here"
    assert (known.instances, known.parts, known.structures) == before
    assert "dry" not in [pair["KeyName"] for pair in cloud.ec2.describe_key_pairs()["KeyPairs"]]


def test_a_shutdown_for_later_comes_when_it_is_due(ending: Server) -> None:
    ending.await_state("terminated", patience=240)
    assert reason(ending) == "Client.InstanceInitiatedShutdown"
