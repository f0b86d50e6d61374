"""Images made of servers, and servers started from them."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, until

from skylift.cloud.compute.server.server import find_programs

pytestmark = pytest.mark.real

MARK = """
echo {word} >~/word
sudo rm /etc/motd
sudo rm -r /usr/share/common-licenses && sudo mkdir /usr/share/common-licenses
echo new | sudo tee /usr/share/common-licenses/only >/dev/null
sudo install -m 4755 /bin/true /usr/local/bin/suid
sudo cp /bin/true /usr/local/bin/capable && sudo setcap cap_net_raw+ep /usr/local/bin/capable
ln -s /etc/shadow ~/link && ln ~/word ~/same
"""
LOOK = """
cat ~/word; test ! -e /etc/motd && ls /usr/share/common-licenses
stat -c '%U %a' /usr/local/bin/suid ~/word; /sbin/getcap /usr/local/bin/capable
readlink ~/link; stat -c %h ~/word; stat -c %U /etc/passwd
"""


@pytest.fixture
def marked(cloud: RealCloud) -> Iterator[tuple[Server, str]]:
    """A server whose disk is not like its image any more, and what it says of that."""
    server = cloud.launch()
    server.ssh(MARK.format(word=secrets.token_hex(8)))
    yield server, server.says(LOOK)
    server.terminate()


def image_of(server: Server, **wanted: Any) -> str:
    made = server.cloud.ec2.create_image(InstanceId=server.id, Name=f"of a test {secrets.token_hex(4)}", **wanted)
    image = str(made["ImageId"])
    until(lambda: describe(server.cloud, image)["State"] != "pending", f"{image} to be made", patience=180)
    assert describe(server.cloud, image)["State"] == "available", describe(server.cloud, image)
    return image


def describe(cloud: RealCloud, image: str) -> dict[str, Any]:
    found: dict[str, Any] = cloud.ec2.describe_images(ImageIds=[image])["Images"][0]
    return found


def test_an_image_of_a_server_starts_servers_like_it(cloud: RealCloud, marked: tuple[Server, str]) -> None:
    server, look = marked
    server.ssh("sudo touch /run/before-reboot")
    image = image_of(server, Description="a copy")
    until(lambda: server.ssh("test ! -e /run/before-reboot", check=False).returncode == 0, "the reboot for the image")
    assert describe(cloud, image)["SourceInstanceId"] == server.id
    twin = cloud.launch(ImageId=image)
    assert twin.says(LOOK) == look
    assert "cap_net_raw" in look
    key = "cat /etc/ssh/ssh_host_ed25519_key.pub"
    assert twin.says(key) != server.says(key)
    assert twin.says("hostname") != server.says("hostname")
    # What one of them writes is not the other's.
    twin.ssh("echo mine >~/word")
    assert server.says(LOOK) == look
    snapshot = describe(cloud, image)["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    results = cloud.ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)["DeleteSnapshotResults"]
    assert results == [{"SnapshotId": snapshot, "ReturnCode": "success"}]
    cloud.ec2.stop_instances(InstanceIds=[twin.id])
    twin.await_state("stopped")
    cloud.ec2.start_instances(InstanceIds=[twin.id])
    twin.await_state("running")
    twin.await_way_in("SSH after the start")
    assert twin.says("cat ~/word") == "mine"
    root = cloud.home.data.captures / snapshot
    assert root.exists()
    twin.terminate()
    cloud.ec2.create_tags(Resources=[server.id], Tags=[{"Key": "any", "Value": "commit"}])
    until(lambda: not root.exists(), "the image's directory to be removed", patience=180)


def test_an_image_without_a_reboot_is_of_one_moment(cloud: RealCloud, marked: tuple[Server, str]) -> None:
    server, look = marked
    server.ssh("sudo touch /run/before; nohup sh -c 'while :; do echo >>~/a; echo >>~/b; done' >/dev/null 2>&1 &")
    server.ssh("until test -s ~/b; do sleep 0.05; done; sync")
    image = image_of(server, NoReboot=True)
    assert server.says("test -e /run/before && echo here") == "here"
    twin = cloud.launch(ImageId=image)
    assert twin.says(LOOK) == look
    first, second = twin.says("wc -l <~/a; wc -l <~/b").split()
    assert int(first) - int(second) in (0, 1)
    until(lambda: server.says("wc -l <~/a") != first, "the writer to have gone on")
    twin.terminate()
    cloud.ec2.deregister_image(ImageId=image)


def test_an_image_brings_the_volumes_along(cloud: RealCloud) -> None:
    """Root and data volumes of one moment, also while a program writes to both."""
    server = cloud.launch(BlockDeviceMappings=[{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 1}}])
    writer = "while :; do echo >>~/a; echo >>/mnt/sdb/b; done"
    server.ssh(f"sudo chown ec2-user /mnt/sdb; nohup sh -c {writer!r} >/dev/null 2>&1 &")
    server.ssh("until test -s /mnt/sdb/b; do sleep 0.05; done; sync")
    image = image_of(server, NoReboot=True)
    server.ssh("pkill -f '[m]nt/sdb/b'; echo kept >/mnt/sdb/word; sync")
    again = image_of(server)
    server.terminate()
    copy = cloud.ec2.copy_image(Name=f"copy {image}", SourceImageId=image, SourceRegion="us-east-1")["ImageId"]
    for one in (image, again):
        cloud.ec2.deregister_image(ImageId=one, DeleteAssociatedSnapshots=one == image)
    until(lambda: describe(cloud, copy)["State"] == "available", "the copy to be made")
    twin = cloud.launch(ImageId=copy)
    first, second = twin.says("wc -l <~/a; wc -l </mnt/sdb/b").split()
    assert int(first) > 0
    assert int(first) - int(second) in (0, 1)
    twin.terminate()
    cloud.ec2.deregister_image(ImageId=copy, DeleteAssociatedSnapshots=True)


def test_an_image_of_a_stopped_server_is_of_what_it_was(cloud: RealCloud, marked: tuple[Server, str]) -> None:
    """Also where the server is started, or ended, before the copy is made."""
    server, look = marked
    cloud.ec2.stop_instances(InstanceIds=[server.id])
    server.await_state("stopped")
    name = f"of a test {secrets.token_hex(4)}"
    image = str(cloud.ec2.create_image(InstanceId=server.id, Name=name)["ImageId"])
    cloud.ec2.terminate_instances(InstanceIds=[server.id])
    until(lambda: describe(cloud, image)["State"] == "available", f"{image} to be made", patience=180)
    copy = str(cloud.ec2.copy_image(Name=f"{name} 2", SourceImageId=image, SourceRegion="us-east-1")["ImageId"])
    cloud.ec2.deregister_image(ImageId=image)
    twin = cloud.launch(ImageId=copy)
    assert twin.says(LOOK) == look
    twin.terminate()
    cloud.ec2.deregister_image(ImageId=copy)


def test_a_server_that_was_held_when_the_cloud_died_goes_on(own_cloud: RealCloud) -> None:
    server = own_cloud.launch()
    runtime = find_programs().runtime
    subprocess.run([runtime, "--root", f"/run/skylift/{own_cloud.number}/oci", "pause", server.id], check=True)
    own_cloud.kill()
    own_cloud.up()
    until(lambda: server.ssh("true", check=False).returncode == 0, "the server to go on")
    assert server.state == "running"
