"""Debian's cloud-init in an image, and `skylift run` on it: what Amazon's images do with a job's user data."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, until

pytestmark = [pytest.mark.real, pytest.mark.nightly]

# Its first stage would ask for an address by DHCP, which nobody answers here, and wait for half a minute. The network
# is there before it.
INSTALL = """set -e
sudo apt-get -q update
sudo apt-get -q -y --no-install-recommends install cloud-init
sudo rm -f /usr/sbin/dhcpcd
sudo tee /etc/cloud/cloud.cfg.d/90-login.cfg <<END
system_info:
  default_user:
    name: ec2-user
    lock_passwd: true
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
    shell: /bin/bash
network:
  config: disabled
END
sync
"""


@pytest.fixture(scope="module")
def image(own_cloud: RealCloud) -> Iterator[str]:
    made = own_cloud.launch()
    made.ssh(INSTALL)
    ami = str(own_cloud.ec2.create_image(InstanceId=made.id, Name="with-cloud-init")["ImageId"])
    until(
        lambda: own_cloud.ec2.describe_images(ImageIds=[ami])["Images"][0]["State"] == "available", f"{ami} to be made"
    )
    made.terminate()
    yield ami


@pytest.fixture(scope="module")
def server(own_cloud: RealCloud, image: str) -> Iterator[Server]:
    made = own_cloud.launch(
        ImageId=image,
        UserData="#cloud-config\nwrite_files:\n- path: /root/made\n  content: by cloud-config\n"
        "runcmd:\n- echo run >>/root/runs\n",
    )
    yield made
    made.terminate()


def test_it_knows_ec2_by_its_firmware_and_does_what_user_data_says(server: Server) -> None:
    server.ssh("sudo timeout 120 cloud-init status --wait", check=False)
    told = json.loads(server.ssh("sudo cat /run/cloud-init/status.json").stdout)["v1"]
    assert told["datasource"].startswith("DataSourceEc2")
    assert [told[stage]["errors"] for stage in ("init-local", "init", "modules-config", "modules-final")] == [[]] * 4
    assert json.loads(server.says("sudo cat /run/cloud-init/instance-data.json"))["v1"]["instance_id"] == server.id
    assert server.says("sudo cat /root/made /root/runs") == "by cloud-configrun"


def test_it_does_so_once(server: Server) -> None:
    server.reboot()
    server.ssh("sudo timeout 120 cloud-init status --wait", check=False)
    assert server.says("sudo cat /root/runs") == "run"


def test_a_job_runs_there(own_cloud: RealCloud, image: str) -> None:
    folder = own_cloud.work / "with-cloud-init"
    folder.mkdir()
    (folder / "job.py").write_text(
        "import os, sys\nprint('at work')\nopen('r.txt', 'w').write(open('/sys/class/dmi/id/sys_vendor').read())\n"
        "print(os.path.exists('/run/cloud-init'), file=sys.stderr)\nsys.exit(7)\n"
    )
    done = own_cloud.skylift("run", "--image", image, "--out", "r.txt", "job.py", cwd=folder, check=False)
    assert (done.returncode, done.stdout) == (7, "at work\n"), done.stderr
    assert "True\n" in done.stderr
    assert (folder / "r.txt").read_text() == "Amazon EC2\n"
