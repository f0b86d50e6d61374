"""Power as the API has it: reboot, stop, start, another type, the plug; and what the metadata service then tells."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from support.real_cloud import RealCloud
from support.real_server import Server, until

pytestmark = pytest.mark.real

METADATA = (
    "t=$(curl -sX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token); "
    'curl -sH "X-aws-ec2-metadata-token: $t" http://169.254.169.254/latest/meta-data/'
)
BOOT = "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1"


@pytest.fixture(scope="module")
def server(cloud: RealCloud) -> Iterator[Server]:
    made = cloud.launch()
    yield made
    made.terminate()


def stop(server: Server, **how: bool) -> None:
    server.cloud.ec2.stop_instances(InstanceIds=[server.id], **how)
    server.await_state("stopped")


def start(server: Server) -> None:
    server.cloud.ec2.start_instances(InstanceIds=[server.id])
    server.await_state("running")
    server.await_way_in(f"SSH to {server.id}")


def test_reboot_keeps_all_but_what_was_in_memory(cloud: RealCloud, server: Server) -> None:
    before = server.describe()
    word = secrets.token_hex(8)
    server.ssh(f"echo {word} >~/word; sudo touch /run/before-reboot")
    cloud.ec2.reboot_instances(InstanceIds=[server.id])
    assert server.state == "running"
    until(lambda: server.ssh("test ! -e /run/before-reboot", check=False).returncode == 0, "the reboot")
    after = server.describe()
    kept = ("InstanceId", "PrivateIpAddress", "PublicIpAddress", "LaunchTime", "State")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert server.says("cat ~/word") == word


def test_stop_and_start_give_the_same_disk_and_another_public_address(server: Server) -> None:
    before = server.describe()
    word = secrets.token_hex(8)
    server.ssh(f"echo {word} >~/word")
    keys = server.says("cat /etc/ssh/ssh_host_ed25519_key.pub")
    stop(server)
    start(server)
    after = server.describe()
    assert after["PublicIpAddress"] != before["PublicIpAddress"]
    assert after["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert server.says("cat ~/word") == word
    assert server.says("cat /etc/ssh/ssh_host_ed25519_key.pub") == keys
    assert server.says(f"{METADATA}public-ipv4") == after["PublicIpAddress"]
    assert server.says(f"{METADATA}local-ipv4") == before["PrivateIpAddress"]


def test_a_stop_by_force_does_not_wait_for_a_shutdown(server: Server) -> None:
    """What a shutdown would run does not run."""
    server.ssh("sudo sh -c 'printf \"#!/bin/sh\\ntouch /shut-down\\n\" >/usr/sbin/poweroff'")
    stop(server, Force=True)
    start(server)
    assert not (server.disk / "shut-down").exists()
    server.ssh("sudo ln -sf shutdown /usr/sbin/poweroff")


def test_another_type_is_another_size(cloud: RealCloud, server: Server) -> None:
    def change() -> None:
        cloud.ec2.modify_instance_attribute(InstanceId=server.id, InstanceType={"Value": "t3.nano"})

    with pytest.raises(ClientError) as refusal:
        change()
    assert refusal.value.response["Error"]["Code"] == "IncorrectInstanceState"
    stop(server)
    change()
    start(server)
    assert server.says(f"{METADATA}instance-type") == "t3.nano"
    assert memory_limit(server) == 512 << 20


def memory_limit(server: Server) -> int:
    """What the kernel lets the server have, in bytes, by the control group of its first process."""
    for line in Path(f"/proc/{server.init}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            return int(Path(f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes").read_text())
    return int(Path(f"/sys/fs/cgroup{path}/memory.max").read_text())


def test_protection_holds_until_it_is_lifted(cloud: RealCloud) -> None:
    server = cloud.launch(DisableApiTermination=True)
    with pytest.raises(ClientError) as refusal:
        cloud.ec2.terminate_instances(InstanceIds=[server.id])
    assert refusal.value.response["Error"]["Code"] == "OperationNotPermitted"
    assert server.state == "running"
    cloud.ec2.modify_instance_attribute(InstanceId=server.id, DisableApiTermination={"Value": False})
    server.terminate()


def test_metadata_options_are_in_force_at_once(cloud: RealCloud, server: Server) -> None:
    plain = "curl -so /dev/null -w '%{http_code}' http://169.254.169.254/latest/meta-data/instance-id"
    assert server.says(plain) == "401"
    change = cloud.ec2.modify_instance_metadata_options
    assert change(InstanceId=server.id, HttpTokens="optional")["InstanceMetadataOptions"]["HttpTokens"] == "optional"
    assert server.says(plain) == "200"
    change(InstanceId=server.id, HttpEndpoint="disabled")
    assert server.says(plain) == "403"
    change(InstanceId=server.id, HttpEndpoint="enabled", HttpTokens="required")
    assert server.says(plain) == "401"
    assert server.says(f"{METADATA}instance-id") == server.id


def test_what_vouches_for_the_identity_document(cloud: RealCloud, server: Server, tmp_path: Path) -> None:
    """As AWS's user guide checks it, with this cloud's certificate."""
    identity = METADATA.replace("meta-data/", "dynamic/instance-identity/")
    lines = ("-----BEGIN PKCS7-----", server.says(f"{identity}rsa2048"), "-----END PKCS7-----", "")
    (tmp_path / "rsa2048").write_text("\n".join(lines))
    certificate = cloud.home.identity_certificate
    check = ["openssl", "smime", "-verify", "-in", tmp_path / "rsa2048", "-inform", "PEM", "-certfile", certificate]
    found = subprocess.run([*check, "-noverify"], capture_output=True, check=True, text=True).stdout
    assert found == server.says(f"{identity}document")
    assert json.loads(found)["instanceId"] == server.id


# Asks for a token, and says with which TTLs the metadata service's packets of that answer came in.
HOPS = """
import http.client, socket
heard = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
heard.settimeout(2)
asked = http.client.HTTPConnection("169.254.169.254")
asked.request("PUT", "/latest/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
assert asked.getresponse().status == 200
found = set()
while True:
    packet = heard.recv(65536)
    header = (packet[0] & 15) * 4
    if packet[9] != 6 or packet[12:16] != bytes((169, 254, 169, 254)):
        continue
    if packet[header + (packet[header + 12] >> 4) * 4:int.from_bytes(packet[2:4], "big")]:
        found.add(packet[8])
        break
print(sorted(found))
"""


@pytest.mark.parametrize("hops", [1, 5])
def test_a_token_goes_no_further_than_the_hop_limit(cloud: RealCloud, server: Server, hops: int) -> None:
    cloud.ec2.modify_instance_metadata_options(InstanceId=server.id, HttpPutResponseHopLimit=hops)
    assert server.python(HOPS, root=True) == f"[{hops}]"


def test_a_launch_template_starts_a_server(cloud: RealCloud) -> None:
    request = cloud.request(
        InstanceType="t3.nano",
        UserData=base64.b64encode(b"#!/bin/sh\necho from the template >/from-template\n").decode(),
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "of a template"}]}],
    )
    data = {name: value for name, value in request.items() if name not in ("MinCount", "MaxCount")}
    cloud.ec2.create_launch_template(LaunchTemplateName="power", LaunchTemplateData=data)
    template = {"LaunchTemplateName": "power", "Version": "$Latest"}
    answer = cloud.ec2.run_instances(MinCount=1, MaxCount=1, LaunchTemplate=template)
    server = Server(cloud, answer["Instances"][0]["InstanceId"])
    server.await_ssh()
    assert server.says(f"{METADATA}instance-type") == "t3.nano"
    until(lambda: server.ssh("cat /from-template", check=False).stdout == "from the template\n", "the user data")
    assert {"Key": "Name", "Value": "of a template"} in server.describe()["Tags"]
    server.terminate()
    cloud.ec2.delete_launch_template(LaunchTemplateName="power")
