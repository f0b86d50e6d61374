"""A hello from a server, as a user of apache-libcloud gets it: deploy_node, which creates, waits, connects and runs.

    python bench/libcloud_job.py ENDPOINT KEY SECRET REGION CIDR WORK

WORK is a directory for the private key. Everything that is made is removed again.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from libcloud.compute.deployment import ScriptDeployment
from libcloud.compute.providers import get_driver
from libcloud.compute.types import Provider

SIZE = "t3.small"


class Steps:
    """What was done since the last one, for whoever measures."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def done(self, name: str) -> None:
        now = time.perf_counter()
        print(f"step {name}: {(now - self._last) * 1e6:.0f} us", file=sys.stderr)
        self._last = now


def main() -> None:
    steps = Steps()
    url, key, secret, region, cidr, work = sys.argv[1:]
    place = urlsplit(url)
    driver = get_driver(Provider.EC2)(
        key, secret, region=region, host=place.hostname, port=place.port, secure=False, signature_version="4"
    )
    pem = Path(work) / "libcloud.pem"
    pem.touch(mode=0o600)
    pair = driver.create_key_pair("libcloud")
    pem.write_text(pair.private_key)
    group = driver.ex_create_security_group("libcloud", "SSH from here")["group_id"]
    driver.ex_authorize_security_group_ingress(group, 22, 22, cidr_ips=[cidr], protocol="tcp")
    steps.done("key, group")
    image = driver.list_images(ex_owner="amazon")[0]
    size = next(each for each in driver.list_sizes() if each.id == SIZE)
    script = ScriptDeployment("#!/bin/sh\npython3 -c 'print(\"hello\")'\n")
    node = driver.deploy_node(
        name="libcloud",
        image=image,
        size=size,
        deploy=script,
        ssh_username="ec2-user",
        ssh_key=str(pem),
        ex_keyname="libcloud",
        ex_subnet=driver.ex_list_subnets()[0],
        ex_security_group_ids=[group],
        ex_assign_public_ip=True,
    )
    print(script.stdout.strip())
    steps.done("deploy_node")
    node.destroy()
    while any(each.id == node.id and each.state != "terminated" for each in driver.list_nodes()):
        pass
    driver.ex_delete_security_group_by_id(group)
    driver.delete_key_pair(pair)
    steps.done("putting away")


if __name__ == "__main__":
    main()
