"""SkyPilot's provisioner for AWS, called as SkyPilot calls it: a cluster of two nodes from its launch to its end."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.client_environment import client_environment
from support.real_cloud import RealCloud

pytestmark = [pytest.mark.real, pytest.mark.nightly]

WORK = """
import os, socket
from sky.provision import common
from sky.provision.aws import config as aws_config, instance as aws_instance
from sky.utils import status_lib

UP, STOPPED = status_lib.ClusterStatus.UP, status_lib.ClusterStatus.STOPPED
region, cluster = "us-east-1", "pilots-1234"
provider = {
    "type": "external", "module": "sky.provision.aws", "region": region, "availability_zone": "us-east-1a,us-east-1b",
    "use_internal_ips": False, "cache_stopped_nodes": True, "disable_launch_config_check": True,
    "security_group": {"GroupName": f"sky-sg-{cluster}", "ManagedBySkyPilot": True},
}
node = {
    "InstanceType": "t3.micro", "ImageId": os.environ["IMAGE"],
    "BlockDeviceMappings": [{
        "DeviceName": "/dev/xvda",
        "Ebs": {"VolumeSize": 16, "VolumeType": "gp3", "Encrypted": False, "Iops": 3000, "Throughput": 125},
    }],
    "UserData": "#cloud-config\\nusers:\\n- name: sky\\n  shell: /bin/bash\\n",
    "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "skypilot-user", "Value": "me"}]}],
}

def wanted(resume):
    return common.ProvisionConfig(
        provider_config=dict(provider), authentication_config={"ssh_user": "ec2-user"}, docker_config={},
        node_config=dict(node), count=2,
        # Resuming with tags, SkyPilot 0.14.1 sets what boto3 does not let anybody set.
        tags={} if resume else {"Name": cluster, "skypilot-cluster-name": cluster},
        resume_stopped_nodes=resume, ports_to_open_on_launch=None,
    )

def launch(resume):
    ready = aws_config.bootstrap_instances(region, cluster, wanted(resume))
    record = aws_instance.run_instances(region, cluster, cluster, ready)
    aws_instance.wait_instances(region, cluster, UP)
    return record

def states():
    return sorted(str(state.value) for state, _ in aws_instance.query_instances(cluster, cluster, provider).values())

first = launch(False)
assert len(first.created_instance_ids) == 2 and first.head_instance_id in first.created_instance_ids
assert states() == ["UP", "UP"]
info = aws_instance.get_cluster_info(region, cluster, provider)
assert info.head_instance_id == first.head_instance_id and len(info.instances) == 2
head = info.get_head_instance()
assert head.tags["skypilot-user"] == "me" and head.internal_ip.startswith("172.31.")

aws_instance.open_ports(cluster, ["8080", "9000-9010"], provider)
aws_instance.open_ports(cluster, ["8080", "9000-9010"], provider)
aws_instance.open_ports(cluster, ["22"], provider)
with socket.create_connection((head.external_ip, 22), timeout=60) as link:
    assert link.recv(4) == b"SSH-"

again = launch(False)
assert (again.created_instance_ids, again.head_instance_id) == ([], first.head_instance_id)
aws_instance.stop_instances(cluster, provider, worker_only=True)
aws_instance.stop_instances(cluster, provider)
aws_instance.wait_instances(region, cluster, STOPPED)
assert states() == ["STOPPED", "STOPPED"]
resumed = launch(True)
assert sorted(resumed.resumed_instance_ids) == sorted(first.created_instance_ids)
assert states() == ["UP", "UP"]
aws_instance.terminate_instances(cluster, provider)
aws_instance.cleanup_ports(cluster, ["8080"], provider)
assert states() == []
print("done")
"""


@pytest.fixture(scope="session")
def skypilot(shared: Path) -> Path:
    """The Python of an environment with SkyPilot, half a gigabyte."""
    return client_environment(shared, "skypilot", "skypilot[aws]>=0.14") / "python"


def test_two_nodes(own_cloud: RealCloud, skypilot: Path, tmp_path: Path) -> None:
    root = own_cloud.home.root_key()
    assert root is not None
    done = subprocess.run(
        [str(skypilot), "-c", WORK],
        cwd=tmp_path,
        env={
            "HOME": str(tmp_path),
            "PATH": "/usr/bin:/bin",
            "AWS_ENDPOINT_URL": own_cloud.endpoint.url,
            "AWS_ACCESS_KEY_ID": root.access_key_id,
            "AWS_SECRET_ACCESS_KEY": root.secret_access_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "NO_PROXY": "*",
            "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
            "IMAGE": own_cloud.image,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["done"]), f"{done.stdout}\n{done.stderr}"
    groups = [each["GroupName"] for each in own_cloud.ec2.describe_security_groups()["SecurityGroups"]]
    assert "sky-sg-pilots-1234" not in groups
