"""How much goes from server to server? iperf3 between two of a subnet, against two bare network namespaces.

    sudo python bench/network.py [--seconds N] [--rounds N] [--images-of HOME]

Every packet between two servers, also of one subnet, is routed and filtered in their VPC's router. The floor are two
namespaces joined by one veth pair, with nothing in between. iperf3 is the host's (`apt install iperf3`), run in the
servers' network namespaces: the way of the packets is measured, not what a server's type may spend. Rounds alternate.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from own_cloud import add_images_option, client, cloud_up

from skylift.cloud.state.home import Home

PORT = 5201
PATIENCE = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5, help="of one iperf3 run")
    parser.add_argument("--rounds", type=int, default=3)
    add_images_option(parser)
    chosen = parser.parse_args()
    if shutil.which("iperf3") is None:
        raise SystemExit("iperf3 is not here: apt install iperf3")
    with bare_pair() as bare, cloud_up(chosen.images_of) as home:
        ours = two_servers(home)
        rounds = [(measure(bare, chosen.seconds), measure(ours, chosen.seconds)) for _ in range(chosen.rounds)]
    floor, got = (statistics.median(each) for each in zip(*rounds, strict=True))
    print(f"iperf3, one TCP stream, {chosen.rounds} rounds of {chosen.seconds} s, medians in Gbit/s")
    print(f"  two bare namespaces        {floor:6.2f}")
    print(f"  two servers of a subnet    {got:6.2f}   {statistics.median(b / a for a, b in rounds):.2f}x")


Pair = tuple[str, str, str]
"""nsenter's --net argument of the listening and of the sending side, and the listening side's address."""


@contextmanager
def bare_pair() -> Iterator[Pair]:
    names = [f"bench{os.getpid()}{side}" for side in "ab"]
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
        script = f"link add eth0 netns {names[0]} type veth peer name eth0 netns {names[1]}\n"
        subprocess.run(["ip", "-batch", "-"], input=script, text=True, check=True)
        for number, name in enumerate(names, 1):
            script = f"address add 198.18.0.{number}/30 dev eth0\nlink set eth0 up\n"
            subprocess.run(["ip", "-n", name, "-batch", "-"], input=script, text=True, check=True)
        yield f"/run/netns/{names[0]}", f"/run/netns/{names[1]}", "198.18.0.1"
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


def two_servers(home: Home) -> Pair:
    ec2 = client(home, "ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    group = ec2.create_security_group(GroupName="iperf", Description="iperf3", VpcId=vpc)["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": PORT, "ToPort": PORT, "UserIdGroupPairs": [{"GroupId": group}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    made = ec2.run_instances(
        ImageId=image, InstanceType="t3.small", MinCount=2, MaxCount=2, SubnetId=subnet, SecurityGroupIds=[group]
    )["Instances"]
    ec2.get_waiter("instance_running").wait(
        InstanceIds=[each["InstanceId"] for each in made], WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    listening, sending = (network_of(each["InstanceId"]) for each in made)
    return listening, sending, made[0]["PrivateIpAddress"]


def network_of(instance: str) -> str:
    """The network namespace of a server's init, by the file that its parent wrote."""
    (found,) = Path("/run/skylift").glob(f"*/*{instance}*/init.pid")
    return f"/proc/{found.read_text().strip()}/ns/net"


def measure(pair: Pair, seconds: int) -> float:
    """Gbit/s that arrived."""
    listening, sending, address = pair
    server = ["nsenter", f"--net={listening}", "iperf3", "--server", "--one-off"]
    with subprocess.Popen(server, stdout=subprocess.DEVNULL) as process:
        try:
            await_listener(listening)
            client = ["nsenter", f"--net={sending}", "iperf3", "--json", "--time", str(seconds), "--client", address]
            done = subprocess.run(client, capture_output=True, text=True, check=True)
        finally:
            process.terminate()
    return float(json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]) / 1e9


def await_listener(namespace: str) -> None:
    """Until something listens; a connection to try it would be the one that iperf3 serves."""
    give_up = time.monotonic() + PATIENCE
    look = ["nsenter", f"--net={namespace}", "ss", "--listening", "--tcp", "--numeric", "--no-header"]
    while f":{PORT}" not in subprocess.run(look, capture_output=True, text=True, check=True).stdout:
        if time.monotonic() > give_up:
            raise SystemExit("iperf3 does not listen")
        time.sleep(0.02)


if __name__ == "__main__":
    main()
