"""apache-libcloud's EC2 driver in us-east-1 as it is by itself: it signs with version 2."""

from __future__ import annotations

import subprocess
from pathlib import Path

from serverless_cloud import Cloud

WORK = """
import os
from urllib.parse import urlsplit
from libcloud.common.types import InvalidCredsError
from libcloud.compute.providers import get_driver
from libcloud.compute.types import Provider

place = urlsplit(os.environ["AWS_ENDPOINT_URL"])

def driver(secret):
    return get_driver(Provider.EC2)(
        os.environ["AWS_ACCESS_KEY_ID"], secret, region="us-east-1", host=place.hostname, port=place.port, secure=False
    )

ec2 = driver(os.environ["AWS_SECRET_ACCESS_KEY"])
assert ec2.signature_version == "2"
key = ec2.create_key_pair("of libcloud/~")
assert [each.fingerprint for each in ec2.list_key_pairs()] == [key.fingerprint]
net = ec2.ex_create_network("10.88.0.0/16", name="a b+c")
assert [each.name for each in ec2.ex_list_networks(filters={"cidr": "10.88.0.0/16"})] == ["a b+c"]
assert ec2.ex_delete_network(net) and ec2.delete_key_pair(key)
try:
    driver("wrong").list_key_pairs()
except InvalidCredsError:
    print("done")
"""


def test_what_it_signs_with_version_2(cloud: Cloud, clients: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(clients / "python"), "-c", WORK],
        cwd=tmp_path,
        env=cloud.environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
