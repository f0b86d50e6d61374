"""A server that has made folders in folders by the thousand: whatever becomes of it, the cloud goes on."""

from __future__ import annotations

import os
import secrets
import subprocess

import pytest
from support.deep_tree import MAKE
from support.real_cloud import RealCloud
from support.real_server import Server, until

from skylift.cloud.compute.disk.removal import trees_aside

pytestmark = pytest.mark.real

ODD = r"""
cd ~ && mkfifo pipe && truncate -s 1T sparse && ln -s / up && ln sparse same
mkdir "$(printf '\377\n')" && mkdir -m 0 shut
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
sudo setfattr -n user.word -v x pipe 2>/dev/null; sudo rm -r /usr/share/common-licenses
"""
REFUSED = """
for each in /sys/fs/cgroup /sys/fs/cgroup/*/; do sudo mkdir "$each/mine" 2>/dev/null && echo "$each"; done
sudo unshare --cgroup --mount mount -t cgroup2 none /mnt 2>/dev/null && echo mounted
sudo python3 -c '
import fcntl, os, struct
FS_IOC_SETFLAGS, IMMUTABLE = 0x40086602, 0x10
fcntl.ioctl(os.open("fixed", os.O_CREAT), FS_IOC_SETFLAGS, struct.pack("l", IMMUTABLE))
' 2>&1 | tail -1
"""


def deep_server(cloud: RealCloud, levels: int) -> Server:
    server = cloud.launch()
    server.ssh(f"python3 - ~/deep {levels} <<'END'\n{MAKE}\nEND")
    server.ssh(ODD)
    return server


def await_deletion(cloud: RealCloud) -> None:
    data = cloud.home.data
    until(lambda: not trees_aside([data.instances, data.captures]), "what is left to be deleted", patience=300)


def test_all_that_becomes_of_a_server_becomes_of_one_with_a_deep_tree(own_cloud: RealCloud) -> None:
    cloud, ec2 = own_cloud, own_cloud.ec2
    server = deep_server(cloud, 6_000)
    assert server.says(REFUSED) == "PermissionError: [Errno 1] Operation not permitted"
    image = str(ec2.create_image(InstanceId=server.id, Name=f"of a test {secrets.token_hex(4)}")["ImageId"])

    def described() -> tuple[str, str]:
        found = ec2.describe_images(ImageIds=[image])["Images"][0]
        return str(found["State"]), str(found.get("StateReason", {}).get("Message", ""))

    until(lambda: described()[0] != "pending", f"{image} to be settled", patience=180)
    assert described()[0] == "failed" and "File name too long" in described()[1]
    server.await_way_in("SSH after the restart for the image")
    ec2.stop_instances(InstanceIds=[server.id])
    server.await_state("stopped")
    ec2.start_instances(InstanceIds=[server.id])
    server.await_state("running")
    server.await_way_in("SSH after the start")
    assert server.says("ls -d ~/deep/d") == "/home/ec2-user/deep/d"
    cloud.down()
    cloud.up()
    disk = server.disk.parent
    server.terminate()
    assert not disk.exists()
    await_deletion(cloud)


def test_a_deletion_that_takes_long_keeps_no_other_server_from_its_end(own_cloud: RealCloud) -> None:
    cloud = own_cloud
    deep, other = deep_server(cloud, 50_000), cloud.launch()
    deep.terminate()
    other.terminate()
    cloud.kill()
    cloud.up()
    await_deletion(cloud)


def test_what_cannot_be_deleted_keeps_no_cloud_from_its_start(own_cloud: RealCloud) -> None:
    """That `--erase` names it is tested beside its code: here it would stand among other tests' clouds."""
    cloud = own_cloud
    server = deep_server(cloud, 6_000)
    stuck = cloud.home.data.instances / server.id / "stuck"
    stuck.touch()
    subprocess.run(["chattr", "+i", stuck], check=True)
    place = cloud.home.data.instances
    try:
        server.terminate()
        until(lambda: "cannot be deleted" in cloud.home.data.log.read_text(), "the log to name it")
        (left,) = trees_aside([place])
        assert f"{left}/stuck': Operation not permitted; it is tried again" in cloud.home.data.log.read_text()
        assert str(left) in cloud.skylift("doctor", "--json").stdout
        cloud.down()
        cloud.up()
    finally:
        subprocess.run(["chattr", "-R", "-f", "-i", place], check=False)
    cloud.down()
    cloud.up()
    await_deletion(cloud)
    assert os.listdir(cloud.home.data.instances) == []
