"""dask-cloudprovider's EC2Cluster, as its users have it: a scheduler and workers over TLS, and a client outside."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.client_environment import client_environment
from support.real_cloud import RealCloud

pytestmark = [pytest.mark.real, pytest.mark.nightly]

WORK = '''
import base64, os
from importlib.metadata import version
import boto3
from dask.distributed import Client, wait
from dask_cloudprovider.aws import EC2Cluster

ec2 = boto3.client("ec2")
# Release 2025.9 fails to make its own: https://github.com/dask/dask-cloudprovider/issues/481
group = ec2.create_security_group(GroupName="dask", Description="as the documentation says")["GroupId"]
ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
    {"IpProtocol": "tcp", "FromPort": 8786, "ToPort": 8787, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
    {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "UserIdGroupPairs": [{"GroupId": group}]},
])

# Docker cannot run in a server here: what it is to run in a container runs on the server itself, in an environment
# with this one's releases.
docker = """#!/bin/sh
while [ "$1" != here ]; do shift; done
shift
PATH=/opt/dask/bin:$PATH exec "$@"
"""
packages = " ".join(f"{name}=={version(name)}" for name in ("dask", "distributed", "cloudpickle", "msgpack"))
bootstrap = [
    "uv venv --quiet /opt/dask",
    f"uv pip install --quiet --python /opt/dask/bin/python {packages}",
    f"echo {base64.b64encode(docker.encode()).decode()} | base64 -d >/usr/local/bin/docker",
    "chmod +x /usr/local/bin/docker",
]

def main():
    cluster = EC2Cluster(
        ami=os.environ["IMAGE"], security_groups=[group], instance_type="t3.small", n_workers=2, bootstrap=False,
        extra_bootstrap=bootstrap, docker_image="here", filesystem_size=12, key_name=None, debug=False,
    )
    with cluster, Client(cluster) as client:
        client.wait_for_workers(2, timeout=400)
        assert client.get_versions(check=True)
        # By value: no server has this function.
        squares = client.map(lambda number: number * number, range(200))
        assert client.submit(sum, squares).result(timeout=200) == sum(number * number for number in range(200))
        # Both take part, and hand each other what they have.
        hosts = client.run(lambda: __import__("socket").gethostname())
        assert len(set(hosts.values())) == 2, hosts
        blocks = [client.submit(lambda: bytes(1 << 20), workers=[where], pure=False) for where in hosts]
        wait(blocks)
        assert client.submit(lambda *found: sum(map(len, found)), *blocks).result(timeout=200) == 2 << 20
    mine = [{"Name": "tag-key", "Values": ["Dask Cluster"]}]
    servers = [one for each in ec2.describe_instances(Filters=mine)["Reservations"] for one in each["Instances"]]
    assert len(servers) == 3
    states = {server["State"]["Name"] for server in servers}
    assert states <= {"shutting-down", "terminated"}, states
    print("done")

if __name__ == "__main__":
    main()
'''


PYTHON = "3.13"
"""The servers' own: functions go by value, which two minor versions do not understand of each other."""


@pytest.fixture(scope="session")
def dask_cloudprovider(shared: Path) -> Path:
    packages = "dask-cloudprovider[aws]>=2025.9", "boto3", "cryptography"
    return client_environment(shared, "dask-cloudprovider", *packages, python=PYTHON) / "python"


def test_a_cluster_that_is_computed_with(own_cloud: RealCloud, dask_cloudprovider: Path, tmp_path: Path) -> None:
    root = own_cloud.home.root_key()
    assert root is not None
    (tmp_path / "work.py").write_text(WORK)
    done = subprocess.run(
        [str(dask_cloudprovider), "work.py"],
        cwd=tmp_path,
        env={
            "HOME": str(tmp_path),
            "PATH": "/usr/bin:/bin",
            "AWS_ENDPOINT_URL": own_cloud.endpoint.url,
            "AWS_ACCESS_KEY_ID": root.access_key_id,
            "AWS_SECRET_ACCESS_KEY": root.secret_access_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "NO_PROXY": "*",
            "IMAGE": own_cloud.image,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["done"]), f"{done.stdout}\n{done.stderr}"
