"""Ansible with amazon.aws: a small site is made, configured over SSH, restarted and taken away by playbooks such as its
users write; whatever is run again changes nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.client_environment import client_environment
from support.real_cloud import RealCloud

pytestmark = [pytest.mark.real, pytest.mark.nightly]

PLAYBOOKS = Path(__file__).with_name("playbooks")


@pytest.fixture(scope="session")
def ansible(shared: Path) -> Path:
    """The programs of Ansible's large package, which has the collections."""
    return client_environment(shared, "ansible", "ansible>=12", "boto3")


class Ansible:
    def __init__(self, programs: Path, cloud: RealCloud, folder: Path) -> None:
        root = cloud.home.root_key()
        assert root is not None
        self._program = programs / "ansible-playbook"
        self._folder = folder / "playbooks"
        shutil.copytree(PLAYBOOKS, self._folder)
        self._environment = {
            "HOME": str(folder),
            "PATH": f"{programs}:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "AWS_ENDPOINT_URL": cloud.endpoint.url,
            "AWS_ACCESS_KEY_ID": root.access_key_id,
            "AWS_SECRET_ACCESS_KEY": root.secret_access_key,
            "AWS_REGION": "us-east-1",
            "NO_PROXY": "*",
            "IMAGE": cloud.image,
            "ME": f"{cloud.endpoint.loopback}/32",
            # The servers are made by the first playbook: their keys are new to everybody.
            "ANSIBLE_HOST_KEY_CHECKING": "False",
            "ANSIBLE_NOCOWS": "1",
            "ANSIBLE_LOCALHOST_WARNING": "False",
        }

    def play(self, name: str) -> dict[str, dict[str, int]]:
        """The recap: what each host counts."""
        done = subprocess.run(
            [str(self._program), f"{name}.yml"],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{name}:\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
        recap = done.stdout.partition("PLAY RECAP")[2]
        lines = re.findall(r"^(\S+) +: (.*)$", recap, flags=re.MULTILINE)
        return {
            host: {key: int(value) for key, value in (each.split("=") for each in counts.split())}
            for host, counts in lines
        }


def changed(recap: dict[str, dict[str, int]]) -> int:
    return sum(counts["changed"] for counts in recap.values())


@pytest.fixture(scope="module")
def site(own_cloud: RealCloud, ansible: Path) -> Ansible:
    return Ansible(ansible, own_cloud, own_cloud.work)


# Each goes on where the one before it has left the site.


def test_a_site_is_made(site: Ansible) -> None:
    assert changed(site.play("up")) > 20


def test_making_it_again_changes_nothing(site: Ansible) -> None:
    assert changed(site.play("up")) == 0


def test_its_servers_are_configured_over_ssh(site: Ansible) -> None:
    recap = site.play("servers")
    servers = set(recap) - {"localhost"}
    assert len(servers) == 2 and all(recap[server]["changed"] > 5 for server in servers)


def test_configuring_them_again_changes_nothing_and_a_restart_keeps_it(site: Ansible) -> None:
    recap = site.play("reboot")
    servers = set(recap) - {"localhost"}
    assert {server: recap[server]["changed"] for server in servers} == dict.fromkeys(servers, 1), "the restart alone"


def test_it_is_taken_away(site: Ansible, own_cloud: RealCloud) -> None:
    assert changed(site.play("down")) > 15
    ec2 = own_cloud.ec2
    assert [each["CidrBlock"] for each in ec2.describe_vpcs()["Vpcs"]] == ["172.31.0.0/16"]
    assert ec2.describe_addresses()["Addresses"] == []
    assert own_cloud.client("s3").list_buckets()["Buckets"] == []
