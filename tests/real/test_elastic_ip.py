"""An Elastic IP and a NAT gateway, asked for by their API and used by real servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from real_cloud import RealCloud
from real_server import Server, until

pytestmark = pytest.mark.real

ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True)
class Site:
    cloud: RealCloud
    public: Server
    private: Server
    private_subnet: str
    table: str
    nat: str
    nat_ip: str


@pytest.fixture(scope="module")
def site(cloud: RealCloud) -> Iterator[Site]:
    """A private subnet of the default VPC behind a NAT gateway, and a server in it behind one that is not."""
    ec2 = cloud.ec2
    with ExitStack() as end:
        subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [cloud.vpc]}])["Subnets"]
        private = ec2.create_subnet(VpcId=cloud.vpc, CidrBlock="172.31.200.0/24")["Subnet"]["SubnetId"]
        end.callback(ec2.delete_subnet, SubnetId=private)
        group = cloud.security_group("eip", cloud.vpc, (22, ANYWHERE))
        end.callback(ec2.delete_security_group, GroupId=group)
        address = ec2.allocate_address(Domain="vpc")
        end.callback(ec2.release_address, AllocationId=address["AllocationId"])
        made = ec2.create_nat_gateway(SubnetId=subnets[0]["SubnetId"], AllocationId=address["AllocationId"])
        nat = made["NatGateway"]["NatGatewayId"]
        end.callback(remove_nat, cloud, nat)
        until(lambda: state(cloud, nat) == "available", "the NAT gateway")
        table = ec2.create_route_table(VpcId=cloud.vpc)["RouteTable"]["RouteTableId"]
        end.callback(ec2.delete_route_table, RouteTableId=table)
        association = ec2.associate_route_table(RouteTableId=table, SubnetId=private)["AssociationId"]
        end.callback(ec2.disassociate_route_table, AssociationId=association)
        ec2.create_route(RouteTableId=table, DestinationCidrBlock=ANYWHERE, NatGatewayId=nat)
        outside = cloud.launch(SubnetId=subnets[0]["SubnetId"], SecurityGroupIds=[group])
        end.callback(outside.terminate)
        inside = cloud.launch(outside, SubnetId=private, SecurityGroupIds=[group])
        end.callback(inside.terminate)
        yield Site(cloud, outside, inside, private, table, nat, address["PublicIp"])


def state(cloud: RealCloud, nat: str) -> str:
    return str(cloud.ec2.describe_nat_gateways(NatGatewayIds=[nat])["NatGateways"][0]["State"])


def remove_nat(cloud: RealCloud, nat: str) -> None:
    cloud.ec2.delete_nat_gateway(NatGatewayId=nat)
    until(lambda: state(cloud, nat) == "deleted", "the NAT gateway to be gone")


def test_a_private_server_reaches_out_and_is_seen_at_the_gateways_address(site: Site) -> None:
    """sshd of the public server tells whom it sees, in the environment of the session."""
    assert "PublicIpAddress" not in site.private.describe()
    site.private.ssh("test -e key || ssh-keygen -q -t ed25519 -N '' -f key")
    public_key = site.private.says("cat key.pub")
    site.public.ssh("cat >> .ssh/authorized_keys", text=f"{public_key}\n")
    seen = site.private.says(
        f"ssh -i key -o StrictHostKeyChecking=no ec2-user@{site.public.public_ip} 'echo $SSH_CONNECTION'"
    )
    assert seen.split()[0] == site.nat_ip


def test_a_removed_route_stops_it_at_once(site: Site) -> None:
    ec2, route = site.cloud.ec2, {"RouteTableId": site.table, "DestinationCidrBlock": ANYWHERE}

    def gets_out() -> bool:
        command = f"timeout 1 bash -c '</dev/tcp/{site.public.public_ip}/22'"
        return site.private.ssh(command, check=False).returncode == 0

    assert gets_out()
    ec2.delete_route(**route)
    until(lambda: not gets_out(), "the way out to be closed")
    ec2.create_route(**route, NatGatewayId=site.nat)
    until(gets_out, "the way out to be open again")


def test_an_elastic_ip_stays_through_stop_and_start(site: Site) -> None:
    ec2, server = site.cloud.ec2, site.public
    before = server.public_ip
    address = ec2.allocate_address(Domain="vpc")
    allocation = address["AllocationId"]
    association = ec2.associate_address(AllocationId=allocation, InstanceId=server.id)["AssociationId"]
    try:
        assert server.public_ip == address["PublicIp"] != before
        until(lambda: server.ssh("true", check=False).returncode == 0, "SSH by the Elastic IP")
        token = "curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token"
        path = "http://169.254.169.254/latest/meta-data/public-ipv4"
        assert server.says(f'curl -s -H "X-aws-ec2-metadata-token: $({token})" {path}') == address["PublicIp"]
        ec2.stop_instances(InstanceIds=[server.id])
        server.await_state("stopped")
        assert server.public_ip == address["PublicIp"]
        ec2.start_instances(InstanceIds=[server.id])
        server.await_state("running")
        assert server.public_ip == address["PublicIp"]
        server.await_ssh()
    finally:
        ec2.disassociate_address(AssociationId=association)
        ec2.release_address(AllocationId=allocation)
    assert server.public_ip != address["PublicIp"]
    until(lambda: server.ssh("true", check=False).returncode == 0, "SSH by the next address")
