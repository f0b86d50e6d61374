"""apache-libcloud, as its users begin: a node that is deployed with a script, and what they do with it then."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.real_cloud import RealCloud

pytestmark = pytest.mark.real

WORK = """
import os
from urllib.parse import urlsplit
from libcloud.compute.base import Node
from libcloud.compute.deployment import ScriptDeployment
from libcloud.compute.providers import get_driver
from libcloud.compute.types import NodeState, Provider

place = urlsplit(os.environ["AWS_ENDPOINT_URL"])
ec2 = get_driver(Provider.EC2)(
    os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], region="us-east-1",
    host=place.hostname, port=place.port, secure=False, signature_version="4",
)
size = next(size for size in ec2.list_sizes() if size.id == "t3.micro")
assert size.ram == 1024
(image,) = ec2.list_images(ex_owner="amazon", ex_filters={"name": "skylift-debian-13-*"})
assert {zone.name for zone in ec2.ex_list_availability_zones()} >= {"us-east-1a", "us-east-1b"}
assert {"max-instances", "vpc-max-elastic-ips"} <= set(ec2.ex_get_limits()["resource"])

key = ec2.create_key_pair("libcloud")
assert ec2.get_key_pair("libcloud").fingerprint == key.fingerprint
with open("key.pem", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
    file.write(key.private_key)

net = ec2.ex_create_network("10.88.0.0/16", name="libcloud")
subnet = ec2.ex_create_subnet(net.id, "10.88.1.0/24", "us-east-1a", name="libcloud")
gateway = ec2.ex_create_internet_gateway(name="libcloud")
assert ec2.ex_attach_internet_gateway(gateway, net)
table = ec2.ex_create_route_table(net, name="libcloud")
assert ec2.ex_create_route(table, "0.0.0.0/0", internet_gateway=gateway)
association = ec2.ex_associate_route_table(table, subnet)
group = ec2.ex_create_security_group("libcloud", "of libcloud", vpc_id=net.id)["group_id"]
assert ec2.ex_authorize_security_group_ingress(group, 22, 22, cidr_ips=[os.environ["ME"]])

node = ec2.deploy_node(
    name="libcloud", size=size, image=image, ex_keyname="libcloud", ex_subnet=subnet, ex_assign_public_ip=True,
    ex_security_group_ids=[group], ex_metadata={"job": "one"}, ssh_username="ec2-user", ssh_key="key.pem",
    deploy=(script := ScriptDeployment("#!/bin/sh\\necho deployed on $(hostname)\\n")), wait_period=0.1,
)
assert script.exit_status == 0, script.stderr
assert script.stdout.startswith("deployed on ip-10-88-1-"), script.stdout
(found,) = ec2.list_nodes(ex_filters={"tag:job": "one"})
assert found.id == node.id and found.state == NodeState.RUNNING and found.name == "libcloud"
assert found.private_ips[0].startswith("10.88.1.") and found.extra["vpc_id"] == net.id
assert ec2.ex_create_tags(node, {"mood": "good"})
assert ec2.ex_describe_tags(node) == {"Name": "libcloud", "job": "one", "mood": "good"}
assert ec2.ex_delete_tags(node, {"mood": "good"})
assert ec2.ex_get_metadata_for_node(node) == {"Name": "libcloud", "job": "one"}
assert "SSH HOST KEY" in ec2.ex_get_console_output(node)["output"]

address = ec2.ex_allocate_address(domain="vpc")
assert ec2.ex_associate_address_with_node(node, address)
(found,) = ec2.list_nodes(ex_node_ids=[node.id])
assert set(found.public_ips) == {address.ip}
assert ec2.ex_describe_addresses_for_node(node) == [address.ip]
(address,) = [each for each in ec2.ex_describe_all_addresses() if each.ip == address.ip]
assert ec2.ex_disassociate_address(address, domain="vpc") and ec2.ex_release_address(address, domain="vpc")

assert ec2.reboot_node(node)
assert ec2.ex_modify_instance_attribute(node, {"DisableApiTermination.Value": "true"})
try:
    ec2.destroy_node(node)
except Exception as refusal:
    assert "OperationNotPermitted" in str(refusal)
assert ec2.ex_modify_instance_attribute(node, {"DisableApiTermination.Value": "false"})
assert ec2.stop_node(node)
assert ec2.destroy_node(node)
while ec2.list_nodes(ex_node_ids=[node.id])[0].state != NodeState.TERMINATED:
    pass
assert ec2.ex_dissociate_route_table(association) and ec2.ex_delete_route_table(table)
assert ec2.ex_detach_internet_gateway(gateway, net) and ec2.ex_delete_internet_gateway(gateway)
assert ec2.ex_delete_security_group_by_id(group) and ec2.ex_delete_subnet(subnet) and ec2.ex_delete_network(net)
assert ec2.delete_key_pair(key)
print("done")
"""


def test_a_node_from_its_making_to_its_end(cloud: RealCloud, clients: Path, tmp_path: Path) -> None:
    root = cloud.home.root_key()
    assert root is not None
    done = subprocess.run(
        [str(clients / "python"), "-c", WORK],
        cwd=tmp_path,
        env={
            "HOME": str(tmp_path),
            "PATH": "/usr/bin:/bin",
            "AWS_ENDPOINT_URL": cloud.endpoint.url,
            "AWS_ACCESS_KEY_ID": root.access_key_id,
            "AWS_SECRET_ACCESS_KEY": root.secret_access_key,
            "ME": f"{cloud.endpoint.loopback}/32",
            "NO_PROXY": "*",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
